from poisonlab.pipeline.jobs import job

with job(snakemake) as progress:
    from poisonlab.figures.specifications import draw_all, summarise

    draw_all(snakemake.params.figures, progress)
    if "drawn" in snakemake.output.keys():  # noqa: SIM118 - Snakemake's outputs are a list with names
        summarise(snakemake.params.figures, snakemake.output.drawn)
