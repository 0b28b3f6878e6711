rule collect_tables:
    input:
        victims=lambda w: plan.chunk_files(w.study, w.experiment, "victims"),
        robustness=lambda w: plan.chunk_files(w.study, w.experiment, "robustness"),
        probes=lambda w: plan.chunk_files(w.study, w.experiment, "probes"),
        buckets=lambda w: plan.bucket_files(w.study, w.experiment),
        data=lambda w: plan.data_file(plan.experiment(w.study, w.experiment)["dataset"]),
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
        [
            f"results/tables/paths/{name}/{table}.parquet"
            for name in plan.surveys
            for table in plan.survey_tables(name)
            if table != "issues"  # made with the lengths
        ],
        [file for key in plan.experiments for file in plan.map_files(*key)],
        plan.analysis_files(),
        experiments=[
            f"results/tables/{study}/{name}/robustness.parquet"
            for study, name in plan.experiments
        ],


# Archives what is there: a study's experiments may be run, and archived, one after the other; or what a run has finished of them.
rule archive:
    input:
        [
            file
            for file in rules.tables.input
            if Path(file).is_file()
            or (
                plan.config["only_finished"] and file in rules.tables.input.experiments
            )
        ],
    log:
        "results/logs/archive.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        archive=str(ROOT / "archive"),
        config=plan.config,
    script:
        "../scripts/archive.py"


rule judge_claims:
    input:
        [file for files in plan.claim_inputs().values() for file in files.values()],
        claims=os.path.relpath(ROOT / "config" / "claims.yaml"),  # so that a folder that is moved stays up to date
    output:
        markdown=f"{plan.documents}/scorecard.md",
        csv=report(
            f"{plan.documents}/scorecard.csv",
            category="scorecard",
            labels={
                "figure": "scorecard",
                "shows": "Published claims, judged",
                "data": plan.config["source"],
            },
            caption="../report/scorecard.rst",
        ),
    log:
        f"results/logs/scorecard-{plan.config['source']}.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        inputs=plan.claim_inputs(),
        version=plan.version("judge_claims"),
    script:
        "../scripts/judge_claims.py"


rule scorecard:
    input:
        rules.judge_claims.output,
