# Some combinations of choices: all victims of all experiments under each, one after the other.
rule run_multiverse:
    input:
        lambda w: plan.multiverse_inputs(w.study, w.multiverse),
    output:
        conditions="results/multiverses/{study}/{multiverse}/{part}/conditions.parquet",
        victims="results/multiverses/{study}/{multiverse}/{part}/victims.parquet",
        robustness="results/multiverses/{study}/{multiverse}/{part}/robustness.parquet",
    log:
        "results/logs/run_multiverse/{study}/{multiverse}/{part}.log",
    benchmark:
        "results/benchmarks/run_multiverse/{study}/{multiverse}/{part}.jsonl"
    threads: 1
    resources:
        gpu=plan.gpu,
        mem_mb=4000,
        runtime=720,
    params:
        settings=lambda w: plan.multiverse_settings(w.study, w.multiverse, w.part),
        version=lambda w: plan.version(
            "run_multiverse", *plan.multiverse_modules[w.study, w.multiverse]
        ),
    script:
        "../scripts/run_multiverse.py"


rule judge_multiverse:
    input:
        conditions=lambda w: plan.part_tables(w.study, w.multiverse, "conditions"),
        victims=lambda w: plan.part_tables(w.study, w.multiverse, "victims"),
        robustness=lambda w: plan.part_tables(w.study, w.multiverse, "robustness"),
        claims=lambda w: plan.claims_of(w.study),
    output:
        table="results/tables/{study}/{multiverse}/specifications.parquet",
        csv="results/tables/{study}/{multiverse}/specifications.csv",
    log:
        "results/logs/judge_multiverse/{study}-{multiverse}.log",
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=lambda w: plan.judged_settings(w.study, w.multiverse),
        version=plan.version("judge_multiverse", *plan.claim_modules()),
    script:
        "../scripts/judge_multiverse.py"
