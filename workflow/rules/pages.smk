import os

from poisonlab.pipeline.index import index_inputs, pictures, tabs


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
        page=f"{plan.documents}/{{study}}.md",
        support=f"{plan.documents}/support/{{study}}.md",
    log:
        f"results/logs/write_page/{{study}}-{plan.config['source']}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        title=lambda w: plan.titles[w.study],
        findings=lambda w: plan.config[w.study]["findings"],
        places=lambda w: plan.config[w.study]["places"],
        words=lambda w: plan.labels[w.study],
        figures=lambda w: pictures(plan, w.study),
        compared=lambda w: plan.compared(w.study),
        headlines=plan.headlines(),
        archived=lambda w: f"{plan.root}/archive/{w.study}" if plan.archive else "",
        version=plan.version("write_page"),
    script:
        "../scripts/write_page.py"


# Everything on one page that loads nothing: findings, claims, figures, and every victim.
rule write_index:
    input:
        lambda w: index_inputs(plan),
        figures=rules.figures.input,
        scorecard=f"{plan.documents}/scorecard.csv",
        # From here: a checkout that is moved keeps its page.
        template=os.path.relpath(ROOT / "workflow/report/index.html.j2"),
        style=[
            os.path.relpath(ROOT / f"workflow/report/index.{kind}")
            for kind in ("css", "js")
        ],
    output:
        report(
            f"{plan.documents}/index.html",
            category="page",
            labels={
                "figure": "page",
                "shows": "Findings, claims, figures, victims",
                "data": plan.config["source"],
            },
        ),
    log:
        f"results/logs/write_index-{plan.config['source']}.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        tabs=lambda w: tabs(plan),
        version=plan.version("write_index"),
    script:
        "../scripts/write_index.py"


rule pages:
    input:
        [f"{plan.documents}/{study}.md" for study in plan.folders],
        rules.write_index.output,
