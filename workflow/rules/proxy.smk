rule train_proxy:
    input:
        data=lambda w: plan.data_file(plan.config["proxies"][w.proxy]["dataset"]),
    output:
        "results/proxies/{proxy}.safetensors",
    log:
        "results/logs/train_proxy/{proxy}.log",
    benchmark:
        "results/benchmarks/train_proxy/{proxy}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=240,
    params:
        settings=lambda w: plan.proxy_settings(w.proxy),
        version=lambda w: plan.version("train_proxy", *plan.proxy_modules(w.proxy)),
    script:
        "../scripts/train_proxy.py"


rule extract_answers:
    input:
        data=lambda w: plan.data_file(plan.config["proxies"][w.proxy]["dataset"]),
        proxy="results/proxies/{proxy}.safetensors",
    output:
        "results/answers/{proxy}.safetensors",
    log:
        "results/logs/extract_answers/{proxy}.log",
    benchmark:
        "results/benchmarks/extract_answers/{proxy}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=30,
    params:
        device=plan.config["device"],
        version=lambda w: plan.version(
            "extract_answers",
            *plan.model_modules(plan.config["proxies"][w.proxy]["model"]),
        ),
    script:
        "../scripts/extract_answers.py"


rule extract_features:
    input:
        unpack(lambda w: plan.feature_inputs(w.dataset)),
    output:
        "results/features/{dataset}.safetensors",
    log:
        "results/logs/extract_features/{dataset}.log",
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=30,
    params:
        device=plan.config["device"],
        version=lambda w: plan.version(
            "extract_features", *plan.feature_modules(w.dataset)
        ),
    script:
        "../scripts/extract_features.py"
