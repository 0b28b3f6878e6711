# The figures of a study, some in each job; the job itself leaves those alone that are up to date.
for study, number in plan.figure_batches:

    rule:
        name:
            f"draw_figures_{study}_{number}"
        input:
            plan.batch_inputs(study, number),
        output:
            *[
                update(report(file, **plan.figure_report(study, file)))
                for file in plan.batch_files(study, number, "svg")
            ],
            *[update(file) for file in plan.batch_files(study, number, "png", "txt")],
            drawn=f"{plan.documents}/figures/{study}/.drawn-{number}",
        log:
            f"results/logs/draw_figures/{study}-{number}-{plan.config['source']}.log",
        resources:
            mem_mb=2000,
            runtime=30,
        params:
            figures=plan.batch_figures(study, number),
        script:
            "../scripts/draw_figures.py"


# One figure by itself, and what only it shows.
rule draw_figure:
    input:
        lambda w: plan.figure_inputs(w.study, w.figure),
    output:
        svg=update(f"{plan.documents}/figures/{{study}}/{{figure}}.svg"),
        png=update(f"{plan.documents}/figures/{{study}}/{{figure}}.png"),
        caption=update(f"{plan.documents}/figures/{{study}}/{{figure}}.txt"),
    log:
        f"results/logs/draw_figure/{{study}}-{{figure}}-{plan.config['source']}.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        figures=lambda w: [plan.figure_settings(w.study, w.figure)],
    script:
        "../scripts/draw_figures.py"


rule figures:
    input:
        [
            f"{plan.documents}/figures/{study}/.drawn-{number}"
            for study, number in plan.figure_batches
        ],


rule thesis_figures:
    input:
        [file for file in rules.figures.input if "/label_noise/" in file],
        f"{plan.documents}/label_noise.md",


workflow.ruleorder(
    "draw_figure",
    *[f"draw_figures_{study}_{number}" for study, number in plan.figure_batches],
)
