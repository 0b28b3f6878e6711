from poisonlab.pipeline.jobs import job

with job(snakemake) as progress:
    from poisonlab.figures.specifications import draw_all

    draw_all(snakemake.params.figures, progress)
