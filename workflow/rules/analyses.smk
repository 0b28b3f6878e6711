rule analyse:
    input:
        lambda w: plan.analysis_inputs(w.analysis),
    output:
        table="results/tables/analyses/{analysis}/table.parquet",
        csv="results/tables/analyses/{analysis}/table.csv",
        arrays="results/tables/analyses/{analysis}/arrays.safetensors",
    log:
        "results/logs/analyse/{analysis}.log",
    benchmark:
        "results/benchmarks/analyse/{analysis}.jsonl"
    threads: 1
    resources:
        gpu=lambda w: plan.analysis_resource(w.analysis, "gpu", 0),
        mem_mb=lambda w: plan.analysis_resource(w.analysis, "mem_mb", 4000),
        runtime=lambda w: plan.analysis_resource(w.analysis, "runtime", 60),
    params:
        settings=lambda w: plan.analysis_settings(w.analysis),
        device=plan.config["device"],
        version=lambda w: plan.version("analyse", *plan.analysis_modules(w.analysis)),
    script:
        "../scripts/analyse.py"
