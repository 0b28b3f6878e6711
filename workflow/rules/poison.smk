# Poisons that take no time: one job for all that a training job needs.
for batch in plan.batches:

    rule:
        name:
            f"craft_{batch.name}"
        input:
            data=plan.data_file(plan.poison(batch.study, batch.first)["dataset"]),
            needs=plan.need_files(plan.poison(batch.study, batch.first)["needs"]),
        output:
            plan.batch_outputs(batch),
        log:
            f"results/logs/craft_poisons/{batch.name}.log",
        threads: 1
        resources:
            gpu=plan.batch_resource(batch, "gpu", 0),
            mem_mb=plan.batch_resource(batch, "mem_mb", 2000),
            runtime=plan.batch_resource(batch, "runtime", 30),
        params:
            poisons=plan.batch_settings(batch),
            device=plan.config["device"],
            version=plan.version(
                "craft_poisons",
                *plan.poison_modules(batch.study, *batch.poisons),
            ),
        script:
            "../scripts/craft_poisons.py"


# A poison that takes long: a job for each draw, which goes on where it was killed.
rule craft_poison:
    input:
        data=lambda w: plan.data_file(plan.poison(w.study, w.poison)["dataset"]),
        needs=lambda w: plan.need_files(plan.poison(w.study, w.poison)["needs"]),
    output:
        "results/poisons/{study}/{poison}/draw-{draw}.safetensors",
    log:
        "results/logs/craft_poison/{study}/{poison}/draw-{draw}.log",
    benchmark:
        "results/benchmarks/craft_poison/{study}/{poison}/draw-{draw}.jsonl"
    threads: 1
    resources:
        gpu=lambda w: plan.poison_resource(w.study, w.poison, "gpu", 0),
        mem_mb=lambda w: plan.poison_resource(w.study, w.poison, "mem_mb", 4000),
        runtime=lambda w: plan.poison_resource(w.study, w.poison, "runtime", 240),
    params:
        poisons=lambda w: plan.draw_settings(w.study, w.poison, int(w.draw)),
        device=plan.config["device"],
        version=lambda w: plan.version(
            "craft_poisons", *plan.poison_modules(w.study, w.poison)
        ),
    script:
        "../scripts/craft_poisons.py"
