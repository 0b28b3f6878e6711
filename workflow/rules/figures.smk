rule draw_figure:
    input:
        lambda w: plan.figure_inputs(w.study, w.figure),
    output:
        svg=report(
            f"{plan.documents}/figures/{{study}}/{{figure}}.svg",
            category="{study}",
            subcategory=lambda w: published_number(w.figure) or "support",
            labels=lambda w: plan.figure_labels(w.study, w.figure),
            caption="../report/figure.rst",
        ),
        png=f"{plan.documents}/figures/{{study}}/{{figure}}.png",
        caption=f"{plan.documents}/figures/{{study}}/{{figure}}.txt",
    log:
        f"results/logs/draw_figure/{{study}}-{{figure}}-{plan.config['source']}.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        figure=lambda w: plan.figure_settings(w.study, w.figure),
        version=lambda w: plan.version(
            "draw_figure",
            plan.figure_kind(w.study, w.figure).function.partition(":")[0],
        ),
    script:
        "../scripts/draw_figure.py"


rule figures:
    input:
        [f"{plan.documents}/figures/{study}/{name}.svg" for study, name in plan.drawn],


rule write_page:
    input:
        captions=lambda w: [
            f"{plan.documents}/figures/{study}/{name}.txt"
            for study, name in plan.drawn
            if study == w.study
        ],
        scorecard=f"{plan.documents}/scorecard.csv",
        claims=os.path.relpath(ROOT / "config" / "claims.yaml"),
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
        figures=lambda w: plan.page_figures(w.study),
        compared=lambda w: plan.compared(w.study),
        version=plan.version("write_page"),
    script:
        "../scripts/write_page.py"


rule pages:
    input:
        [f"{plan.documents}/{study}.md" for study in plan.config["studies"]],


# The thesis by itself: its figures and its page.
rule thesis_figures:
    input:
        [
            f"{plan.documents}/figures/{study}/{name}.svg"
            for study, name in plan.drawn
            if study == "label_noise"
        ],
        f"{plan.documents}/label_noise.md",
