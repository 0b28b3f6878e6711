rule craft_poison:
    input:
        data=lambda w: plan.data_file(plan.experiment(w.study, w.experiment)["dataset"]),
        needs=lambda w: plan.strategy_inputs(w.study, w.experiment, w.condition),
    output:
        "results/poisons/{study}/{experiment}/{condition}/draws-{draws}.safetensors",
    log:
        "results/logs/craft_poison/{study}/{experiment}/{condition}/draws-{draws}.log",
    threads: 1
    resources:
        gpu=lambda w: plan.resource(w.study, w.experiment, w.condition, "gpu", 0),
        mem_mb=lambda w: plan.resource(
            w.study, w.experiment, w.condition, "mem_mb", 2000
        ),
        runtime=lambda w: plan.resource(
            w.study, w.experiment, w.condition, "runtime", 30
        ),
    params:
        redraw=lambda w: plan.redraw(w.study, w.experiment),
        strategy=lambda w: plan.strategy_settings(w.study, w.experiment, w.condition),
        version=lambda w: plan.version(
            "craft_poison", plan.strategy(w.study, w.experiment, w.condition).module
        ),
    script:
        "../scripts/craft_poison.py"
