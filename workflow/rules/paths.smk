rule trace_paths:
    input:
        data=lambda w: plan.data_file(plan.proxy_of_paths(w.paths)["dataset"]),
        proxy=lambda w: plan.proxy_file(plan.config["paths"][w.paths]["proxy"]),
    output:
        "results/paths/{paths}.parquet",
    log:
        "results/logs/trace_paths/{paths}.log",
    benchmark:
        "results/benchmarks/trace_paths/{paths}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=240,
    params:
        settings=lambda w: plan.path_settings(w.paths),
        device=plan.config["device"],
        version=lambda w: plan.version(
            "trace_paths", *plan.model_modules(plan.proxy_of_paths(w.paths)["model"])
        ),
    script:
        "../scripts/trace_paths.py"


rule cut_buckets:
    input:
        lambda w: plan.bucket_source(w.buckets),
    output:
        "results/buckets/{buckets}.parquet",
    log:
        "results/logs/cut_buckets/{buckets}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=lambda w: plan.bucket_settings(w.buckets),
        version=plan.version("cut_buckets"),
    script:
        "../scripts/cut_buckets.py"
