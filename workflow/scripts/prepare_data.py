from pathlib import Path

from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.datasets.prepare import prepare

    raw = Path(snakemake.input[0]) if snakemake.input else None
    for (name, specification), file in zip(snakemake.params.specifications.items(), snakemake.output, strict=True):
        prepare(name, specification, raw).save(file)
