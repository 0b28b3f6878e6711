from poisonlab.pipeline.rates import victim_seconds


rule judge_claims:
    input:
        [file for files in plan.claim_inputs().values() for file in files.values()],
        claims=list(plan.claim_files().values()),
        multiverses=[plan.multiverse_table(*key) for key in plan.multiverses],
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
        titles=plan.titles,
        labels=plan.labels,
        inputs=plan.claim_inputs(),
        headlines=plan.headlines(),
        seconds=lambda w: victim_seconds(plan),
        version=plan.version("judge_claims", *plan.claim_modules()),
    script:
        "../scripts/judge_claims.py"


rule scorecard:
    input:
        rules.judge_claims.output,
