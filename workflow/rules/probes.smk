rule probe_victims:
    input:
        data=lambda w: plan.data_file(plan.experiment(w.study, w.experiment)["dataset"]),
        poisons=lambda w: plan.poison_files(
            w.study, w.experiment, w.conditions, w.draws
        ),
        victims="results/victims/{study}/{experiment}/{conditions}/draws-{draws}_repeats-{repeats}.safetensors",
        proxy=lambda w: plan.probe_proxy(w.study, w.experiment),
    output:
        "results/probes/{study}/{experiment}/{conditions}/draws-{draws}_repeats-{repeats}.parquet",
    log:
        "results/logs/probe_victims/{study}/{experiment}/{conditions}/draws-{draws}_repeats-{repeats}.log",
    benchmark:
        "results/benchmarks/probe_victims/{study}/{experiment}/{conditions}/draws-{draws}_repeats-{repeats}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=240,
    params:
        settings=lambda w: plan.probe_settings(w.study, w.experiment),
        redraw=lambda w: plan.redraw(w.study, w.experiment),
        device=plan.config["device"],
        version=lambda w: plan.version(
            "probe_victims",
            *plan.model_modules(plan.experiment(w.study, w.experiment)["model"]),
        ),
    script:
        "../scripts/probe_victims.py"


rule map_decisions:
    input:
        data=lambda w: plan.data_file(plan.experiment(w.study, w.experiment)["dataset"]),
        poison=lambda w: plan.first_chunk(w.study, w.experiment)["poison"],
        victims=lambda w: plan.first_chunk(w.study, w.experiment)["victims"],
        proxy=lambda w: plan.probe_proxy(w.study, w.experiment),
    output:
        "results/tables/{study}/{experiment}/maps.safetensors",
    log:
        "results/logs/map_decisions/{study}-{experiment}.log",
    benchmark:
        "results/benchmarks/map_decisions/{study}-{experiment}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=60,
    params:
        settings=lambda w: plan.probe_settings(w.study, w.experiment),
        chunk=lambda w: plan.first_chunk(w.study, w.experiment),
        redraw=lambda w: plan.redraw(w.study, w.experiment),
        device=plan.config["device"],
        version=lambda w: plan.version(
            "map_decisions",
            *plan.model_modules(plan.experiment(w.study, w.experiment)["model"]),
        ),
    script:
        "../scripts/map_decisions.py"
