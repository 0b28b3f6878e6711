from pathlib import Path

from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.datasets.prepare import prepare

    raw = Path(snakemake.input[0]) if snakemake.input else None
    prepare(snakemake.wildcards.dataset, snakemake.params.specification, raw).save(snakemake.output[0])
