rule fetch_data:
    output:
        directory("results/raw/{source}"),
    log:
        "results/logs/fetch_data/{source}.log",
    retries: 2
    resources:
        mem_mb=1000,
        runtime=60,
    script:
        "../scripts/fetch_data.py"


rule prepare_data:
    input:
        lambda w: plan.data_inputs(w.dataset),
    output:
        "results/data/{dataset}.safetensors",
    log:
        "results/logs/prepare_data/{dataset}.log",
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        specification=lambda w: plan.config["datasets"][w.dataset],
        files=lambda w: plan.user_files(w.dataset),
        version=plan.version("prepare_data"),
    script:
        "../scripts/prepare_data.py"
