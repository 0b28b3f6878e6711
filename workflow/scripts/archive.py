from pathlib import Path

from poisonlab.jobs import job

with job(snakemake):
    from poisonlab.archive import archive_experiment, archive_survey

    params, root = snakemake.params, Path(snakemake.params.archive)
    for study, name in params.experiments:
        archive_experiment(Path("results/tables") / study / name, root / study / name, params.config)
    for name in params.surveys:
        archive_survey(Path("results/tables/paths") / name, root / "paths" / name, params.config)
