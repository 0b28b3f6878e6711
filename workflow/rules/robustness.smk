rule evaluate_robustness:
    input:
        data=lambda w: plan.data_file(plan.dataset(w.study, w.experiment)),
        poisons=lambda w: plan.job_poisons(w.study, w.experiment, w.variant, w.chunk),
        victims="results/victims/{study}/{experiment}/{variant}/{chunk}.safetensors",
    output:
        "results/robustness/{study}/{experiment}/{variant}/{chunk}.parquet",
    log:
        "results/logs/evaluate_robustness/{study}/{experiment}/{variant}/{chunk}.log",
    benchmark:
        "results/benchmarks/evaluate_robustness/{study}/{experiment}/{variant}/{chunk}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=240,
    params:
        settings=lambda w: plan.evaluation_settings(
            w.study, w.experiment, w.variant, w.chunk
        ),
        version=lambda w: plan.version(
            "evaluate_robustness",
            *plan.evaluation_modules(w.study, w.experiment, w.variant, w.chunk),
        ),
    script:
        "../scripts/evaluate_robustness.py"


rule probe_victims:
    input:
        data=lambda w: plan.data_file(plan.dataset(w.study, w.experiment)),
        poisons=lambda w: plan.job_poisons(w.study, w.experiment, w.variant, w.chunk),
        victims="results/victims/{study}/{experiment}/{variant}/{chunk}.safetensors",
        proxy=lambda w: plan.probe_proxy(w.study, w.experiment),
    output:
        "results/probes/{study}/{experiment}/{variant}/{chunk}.parquet",
    log:
        "results/logs/probe_victims/{study}/{experiment}/{variant}/{chunk}.log",
    benchmark:
        "results/benchmarks/probe_victims/{study}/{experiment}/{variant}/{chunk}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=240,
    params:
        settings=lambda w: plan.probe_settings(
            w.study, w.experiment, w.variant, w.chunk
        ),
        version=lambda w: plan.version(
            "probe_victims", *plan.probe_modules(w.study, w.experiment, w.variant)
        ),
    script:
        "../scripts/probe_victims.py"
