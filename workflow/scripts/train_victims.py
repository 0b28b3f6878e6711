from poisonlab.jobs import job

with job(snakemake) as progress:
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.storage import write_table
    from poisonlab.victims.chunk import train_chunk

    wildcards, params = snakemake.wildcards, snakemake.params
    columns = {"study": wildcards.study, "experiment": wildcards.experiment, "condition": wildcards.condition}
    rows = train_chunk(
        Dataset.load(snakemake.input.data),
        snakemake.input.poison,
        snakemake.output.victims,
        columns | {"draw": int(wildcards.draw)},
        range(int(wildcards.first), int(wildcards.last) + 1),
        params.model,
        params.recipe,
        params.precision,
        params.device,
        params.version,
        progress,
    )
    write_table(rows, snakemake.output.table)
