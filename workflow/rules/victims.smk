rule train_victims:
    input:
        data=lambda w: plan.data_file(plan.dataset(w.study, w.experiment)),
        poisons=lambda w: plan.job_poisons(w.study, w.experiment, w.variant, w.chunk),
    output:
        victims=plan.keep(
            "results/victims/{study}/{experiment}/{variant}/{chunk}.safetensors",
            temp,
        ),
        table="results/victims/{study}/{experiment}/{variant}/{chunk}.parquet",
    log:
        "results/logs/train_victims/{study}/{experiment}/{variant}/{chunk}.log",
    benchmark:
        "results/benchmarks/train_victims/{study}/{experiment}/{variant}/{chunk}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=720,
    params:
        settings=lambda w: plan.job_settings(w.study, w.experiment, w.variant, w.chunk),
        version=lambda w: plan.version(
            "train_victims", *plan.variant_modules(w.study, w.experiment, w.variant)
        ),
    script:
        "../scripts/train_victims.py"
