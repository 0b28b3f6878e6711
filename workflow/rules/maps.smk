rule map_decisions:
    input:
        data=lambda w: plan.data_file(plan.dataset(w.study, w.experiment)),
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
        settings=lambda w: plan.map_settings(w.study, w.experiment),
        version=lambda w: plan.version(
            "map_decisions",
            *plan.probe_modules(
                w.study,
                w.experiment,
                plan.first_chunk(w.study, w.experiment)["variant"],
            ),
        ),
    script:
        "../scripts/map_decisions.py"
