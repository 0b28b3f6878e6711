rule judge_claims:
    input:
        [file for files in plan.claim_inputs().values() for file in files.values()],
        claims=list(plan.claim_files().values()),
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
        studies=list(plan.claim_files()),
        inputs=plan.claim_inputs(),
        headlines=plan.headlines(),
        version=plan.version("judge_claims", *plan.claim_modules()),
    script:
        "../scripts/judge_claims.py"


rule write_page:
    input:
        figures=lambda w: [
            f"{plan.documents}/figures/{study}/.drawn-{number}"
            for study, number in plan.figure_batches
            if study == w.study
        ],
        scorecard=f"{plan.documents}/scorecard.csv",
        claims=lambda w: plan.claims_of(w.study),
        compared=lambda w: [
            file
            for tables in plan.compared(w.study).values()
            for file in tables.values()
        ],
    output:
        f"{plan.documents}/{{study}}.md",
    log:
        f"results/logs/write_page/{{study}}-{plan.config['source']}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        title=lambda w: plan.config[w.study]["title"] or w.study,
        findings=lambda w: plan.config[w.study]["findings"],
        words=lambda w: plan.config[w.study]["labels"],
        figures=lambda w: plan.page_figures(w.study),
        compared=lambda w: plan.compared(w.study),
        headlines=plan.headlines(),
        version=plan.version("write_page"),
    script:
        "../scripts/write_page.py"


rule scorecard:
    input:
        rules.judge_claims.output,


rule pages:
    input:
        [f"{plan.documents}/{study}.md" for study in plan.folders],
