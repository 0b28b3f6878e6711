rule trace_paths:
    input:
        data=lambda w: plan.data_file(plan.config["paths"][w.paths]["dataset"]),
        proxy=lambda w: plan.proxy_file(w.paths, int(w.proxy_seed)),
    output:
        "results/paths/{paths}/proxy-{proxy_seed}.parquet",
    log:
        "results/logs/trace_paths/{paths}-{proxy_seed}.log",
    benchmark:
        "results/benchmarks/trace_paths/{paths}-{proxy_seed}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=120,
    params:
        settings=lambda w: plan.path_settings(w.paths),
        device=plan.config["device"],
        version=lambda w: plan.version(
            "trace_paths", *plan.model_modules(plan.config["paths"][w.paths]["model"])
        ),
    script:
        "../scripts/trace_paths.py"


rule cut_buckets:
    input:
        lambda w: plan.bucket_source(w.study, w.experiment),
    output:
        "results/buckets/{study}/{experiment}.parquet",
    log:
        "results/logs/cut_buckets/{study}-{experiment}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=lambda w: plan.bucket_settings(w.study, w.experiment),
        version=plan.version("cut_buckets"),
    script:
        "../scripts/cut_buckets.py"


rule find_label_issues:
    input:
        data=lambda w: plan.data_file(plan.config["paths"][w.paths]["dataset"]),
    output:
        "results/label_issues/{paths}.parquet",
    log:
        "results/logs/find_label_issues/{paths}.log",
    benchmark:
        "results/benchmarks/find_label_issues/{paths}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=6000,
        runtime=240,
    params:
        model=lambda w: plan.config["paths"][w.paths]["model"],
        recipe=lambda w: plan.recipe(plan.config["paths"][w.paths]["recipe"]),
        precision=lambda w: plan.precision(plan.config["paths"][w.paths]["recipe"]),
        device=plan.config["device"],
        version=lambda w: plan.version(
            "find_label_issues",
            *plan.model_modules(plan.config["paths"][w.paths]["model"]),
        ),
    script:
        "../scripts/find_label_issues.py"


rule summarise_paths:
    input:
        data=lambda w: plan.data_file(plan.config["paths"][w.paths]["dataset"]),
        paths=lambda w: plan.path_files(w.paths),
        issues="results/label_issues/{paths}.parquet",
    output:
        lengths="results/tables/paths/{paths}/lengths.parquet",
        lengths_csv="results/tables/paths/{paths}/lengths.csv",
        issues="results/tables/paths/{paths}/issues.parquet",
        issues_csv="results/tables/paths/{paths}/issues.csv",
        extremes="results/tables/paths/{paths}/extremes.safetensors",
    log:
        "results/logs/summarise_paths/{paths}.log",
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        settings=lambda w: plan.config["paths"][w.paths],
        version=plan.version("summarise_paths"),
    script:
        "../scripts/summarise_paths.py"


rule attack_proxies:
    input:
        data=lambda w: plan.data_file(plan.config["paths"][w.paths]["dataset"]),
        proxies=lambda w: plan.proxy_files(w.paths),
    output:
        nets="results/tables/paths/{paths}/nets.parquet",
        nets_csv="results/tables/paths/{paths}/nets.csv",
        example="results/tables/paths/{paths}/example.safetensors",
    log:
        "results/logs/attack_proxies/{paths}.log",
    benchmark:
        "results/benchmarks/attack_proxies/{paths}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=120,
    params:
        model=lambda w: plan.config["paths"][w.paths]["model"],
        settings=lambda w: plan.config["paths"][w.paths]["example"],
        device=plan.config["device"],
        version=lambda w: plan.version(
            "attack_proxies",
            *plan.model_modules(plan.config["paths"][w.paths]["model"]),
        ),
    script:
        "../scripts/attack_proxies.py"
