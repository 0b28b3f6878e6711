from poisonlab.pipeline.jobs import job, numbers

with job(snakemake) as progress:
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.results.storage import write_table
    from poisonlab.victims.chunk import train_chunk

    wildcards, params = snakemake.wildcards, snakemake.params
    columns = {"study": wildcards.study, "experiment": wildcards.experiment}
    rows = train_chunk(
        Dataset.load(snakemake.input.data),
        dict(zip(wildcards.conditions.split("+"), snakemake.input.poisons, strict=True)),
        snakemake.output.victims,
        columns,
        numbers(wildcards.repeats),
        params.model,
        params.recipe,
        params.precision,
        params.device,
        params.version,
        params.redraw,
        # No parameter of the rule, which would train again when it changes; Snakemake's command line gives it as a word.
        str(snakemake.config.get("keep_victims", True)).lower() == "true",
        progress,
    )
    write_table(rows, snakemake.output.table)
