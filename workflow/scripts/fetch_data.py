from pathlib import Path

from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.datasets.fetch import fetch

    mirror = snakemake.config.get("mirror")  # no parameter of the rule: the files are the same wherever they come from
    fetch(snakemake.wildcards.source, Path(snakemake.output[0]), Path(mirror) if mirror else None)
