from pathlib import Path

from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.results.archive import archive_experiment, archive_survey
    from poisonlab.results.storage import read_table

    params, root = snakemake.params, Path(snakemake.params.archive)
    for table in {Path(file).parent: Path(file) for file in snakemake.input}.values():
        study, name = table.parts[-3:-1]
        if study in ("paths", "bounds", "graphs"):
            archive_survey(table.parent, root / study / name, params.config)
        else:
            buckets = Path(f"results/buckets/{study}/{name}.parquet")
            found = read_table(buckets) if buckets.is_file() else None
            times = Path(f"results/benchmarks/train_victims/{study}/{name}")
            archive_experiment(table.parent, root / study / name, params.config, found, times)
