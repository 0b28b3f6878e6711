# Is the robustness of an experiment's victims real?
rule check_victims:
    input:
        data=lambda w: plan.data_file(plan.dataset(w.study, w.experiment)),
        poisons=lambda w: plan.check_poisons(w.study, w.experiment),
        victims=lambda w: plan.checked_victims(w.study, w.experiment),
        proxy=lambda w: plan.proxy_file(
            plan.experiment(w.study, w.experiment)["checks"]
        ),
    output:
        "results/tables/{study}/{experiment}/checks.parquet",
    log:
        "results/logs/check_victims/{study}-{experiment}.log",
    benchmark:
        "results/benchmarks/check_victims/{study}-{experiment}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=240,
    params:
        settings=lambda w: plan.check_settings(w.study, w.experiment),
        version=lambda w: plan.version(
            "check_victims", *plan.check_modules(w.study, w.experiment)
        ),
    script:
        "../scripts/check_victims.py"
