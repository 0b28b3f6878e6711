# Theorems 1 and 2 of the label noise thesis.


rule simulate_bound:
    output:
        runs="results/tables/bounds/{bound}/runs.parquet",
        runs_csv="results/tables/bounds/{bound}/runs.csv",
    log:
        "results/logs/simulate_bound/{bound}.log",
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=lambda w: plan.config["simulations"][w.bound],
        version=plan.version("simulate_bound"),
    script:
        "../scripts/simulate_bound.py"


rule cover_data:
    input:
        data=lambda w: plan.data_file(plan.config["covers"][w.bound]["dataset"]),
    output:
        cover="results/tables/bounds/{bound}/cover.parquet",
        cover_csv="results/tables/bounds/{bound}/cover.csv",
    log:
        "results/logs/cover_data/{bound}.log",
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        settings=lambda w: plan.config["covers"][w.bound],
        version=plan.version("cover_data"),
    script:
        "../scripts/cover_data.py"
