rule train_proxy:
    input:
        data="results/data/{dataset}.safetensors",
    output:
        "results/proxy/{dataset}/{model}-{recipe}-{proxy_seed}.safetensors",
    log:
        "results/logs/train_proxy/{dataset}/{model}-{recipe}-{proxy_seed}.log",
    benchmark:
        "results/benchmarks/train_proxy/{dataset}/{model}-{recipe}-{proxy_seed}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=120,
    params:
        recipe=lambda w: plan.recipe(w.recipe),
        precision=lambda w: plan.precision(w.recipe),
        device=plan.config["device"],
        version=lambda w: plan.version("train_proxy", *plan.model_modules(w.model)),
    script:
        "../scripts/train_proxy.py"


rule extract_features:
    input:
        data=lambda w: plan.data_file(plan.config["paths"][w.paths]["dataset"]),
        proxy=lambda w: plan.proxy_file(w.paths),
    output:
        "results/features/{paths}.safetensors",
    log:
        "results/logs/extract_features/{paths}.log",
    benchmark:
        "results/benchmarks/extract_features/{paths}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=30,
    params:
        model=lambda w: plan.config["paths"][w.paths]["model"],
        device=plan.config["device"],
        version=lambda w: plan.version(
            "extract_features",
            *plan.model_modules(plan.config["paths"][w.paths]["model"]),
        ),
    script:
        "../scripts/extract_features.py"
