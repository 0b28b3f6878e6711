from pathlib import Path

from poisonlab.jobs import job

with job(snakemake):
    from poisonlab.archive import archive_experiment, archive_survey

    params, root = snakemake.params, Path(snakemake.params.archive)
    for table in {Path(file).parent: Path(file) for file in snakemake.input}.values():
        study, name = table.parts[-3:-1]
        archive_one = archive_survey if study in ("paths", "bounds", "graphs") else archive_experiment
        archive_one(table.parent, root / study / name, params.config)
