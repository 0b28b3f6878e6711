rule collect_tables:
    input:
        unpack(lambda w: plan.collect_inputs(w.study, w.experiment)),
    output:
        conditions="results/tables/{study}/{experiment}/conditions.parquet",
        conditions_csv="results/tables/{study}/{experiment}/conditions.csv",
        victims="results/tables/{study}/{experiment}/victims.parquet",
        victims_csv="results/tables/{study}/{experiment}/victims.csv",
        robustness="results/tables/{study}/{experiment}/robustness.parquet",
        robustness_csv="results/tables/{study}/{experiment}/robustness.csv",
    log:
        "results/logs/collect_tables/{study}-{experiment}.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda w: plan.collect_settings(w.study, w.experiment),
        version=plan.version("collect_tables"),
    script:
        "../scripts/collect_tables.py"


rule tables:
    input:
        plan.other_tables(),
        experiments=plan.experiment_tables(),


# Archives what is there: a study's experiments may be run, and archived, one after the other; or what a run has finished of them.
rule archive:
    input:
        plan.archived_tables(),
    log:
        "results/logs/archive.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        archive=str(ROOT / "archive"),
        config=plan.config,
        buckets=plan.archived_bucket_files(),
    script:
        "../scripts/archive.py"
