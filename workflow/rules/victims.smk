rule train_victims:
    input:
        data=lambda w: plan.data_file(plan.experiment(w.study, w.experiment)["dataset"]),
        poison="results/poisons/{study}/{experiment}/{condition}/draw-{draw}.safetensors",
    output:
        victims=plan.keep(
            "results/victims/{study}/{experiment}/{condition}/draw-{draw}_repeats-{first}-{last}.safetensors",
            temp,
        ),
        table="results/victims/{study}/{experiment}/{condition}/draw-{draw}_repeats-{first}-{last}.parquet",
    log:
        "results/logs/train_victims/{study}/{experiment}/{condition}/draw-{draw}_repeats-{first}-{last}.log",
    benchmark:
        "results/benchmarks/train_victims/{study}/{experiment}/{condition}/draw-{draw}_repeats-{first}-{last}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=720,
    params:
        model=lambda w: plan.experiment(w.study, w.experiment)["model"],
        recipe=lambda w: plan.recipe(plan.experiment(w.study, w.experiment)["recipe"]),
        precision=plan.config["precision"],
        device=plan.config["device"],
        version=lambda w: plan.version(
            "train_victims",
            *plan.model_modules(plan.experiment(w.study, w.experiment)["model"]),
        ),
    script:
        "../scripts/train_victims.py"
