rule train_victims:
    input:
        data=lambda w: plan.data_file(plan.experiment(w.study, w.experiment)["dataset"]),
        poisons=lambda w: plan.poison_files(
            w.study, w.experiment, w.conditions, w.draws
        ),
    output:
        victims=plan.keep(
            "results/victims/{study}/{experiment}/{conditions}/draws-{draws}_repeats-{repeats}.safetensors",
            temp,
        ),
        table="results/victims/{study}/{experiment}/{conditions}/draws-{draws}_repeats-{repeats}.parquet",
    log:
        "results/logs/train_victims/{study}/{experiment}/{conditions}/draws-{draws}_repeats-{repeats}.log",
    benchmark:
        "results/benchmarks/train_victims/{study}/{experiment}/{conditions}/draws-{draws}_repeats-{repeats}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=720,
    params:
        redraw=lambda w: plan.redraw(w.study, w.experiment),
        model=lambda w: plan.experiment(w.study, w.experiment)["model"],
        recipe=lambda w: plan.recipe(plan.experiment(w.study, w.experiment)["recipe"]),
        precision=lambda w: plan.precision(
            plan.experiment(w.study, w.experiment)["recipe"]
        ),
        device=plan.config["device"],
        version=lambda w: plan.version(
            "train_victims",
            *plan.model_modules(plan.experiment(w.study, w.experiment)["model"]),
        ),
    script:
        "../scripts/train_victims.py"
