rule evaluate_robustness:
    input:
        data=lambda w: plan.data_file(plan.experiment(w.study, w.experiment)["dataset"]),
        poisons=lambda w: plan.poison_files(
            w.study, w.experiment, w.conditions, w.draws
        ),
        victims="results/victims/{study}/{experiment}/{conditions}/draws-{draws}_repeats-{repeats}.safetensors",
    output:
        "results/robustness/{study}/{experiment}/{conditions}/draws-{draws}_repeats-{repeats}.parquet",
    log:
        "results/logs/evaluate_robustness/{study}/{experiment}/{conditions}/draws-{draws}_repeats-{repeats}.log",
    benchmark:
        "results/benchmarks/evaluate_robustness/{study}/{experiment}/{conditions}/draws-{draws}_repeats-{repeats}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=240,
    params:
        settings=lambda w: plan.evaluation_settings(w.study, w.experiment, w.conditions),
        device=plan.config["device"],
        version=lambda w: plan.version(
            "evaluate_robustness",
            *plan.model_modules(plan.experiment(w.study, w.experiment)["model"]),
        ),
    script:
        "../scripts/evaluate_robustness.py"
