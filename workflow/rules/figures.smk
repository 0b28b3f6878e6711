rule draw_figure:
    input:
        lambda w: plan.figure_inputs(w.study, w.figure),
    output:
        svg=report(
            f"{plan.documents}/figures/{{study}}/{{figure}}.svg",
            category="{study}",
            subcategory=lambda w: plan.figure_kind(w.study, w.figure).published
            or "support",
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
