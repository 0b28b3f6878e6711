from pathlib import Path

from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.results.archive import archive_analysis, archive_experiment, archive_multiverse
    from poisonlab.results.storage import read_table

    params, root = snakemake.params, Path(snakemake.params.archive)
    for table in map(Path, snakemake.input):
        study, name = table.parts[-3:-1]
        if study == "analyses":
            archive_analysis(table.parent, root / study / name, params.config)
        elif table.stem == "specifications":
            archive_multiverse(table, root / study / name, params.config)
        else:
            buckets = Path(params.buckets.get(f"{study}/{name}", ""))
            found = read_table(buckets) if buckets.is_file() else None
            times = Path(f"results/benchmarks/train_victims/{study}/{name}")
            archive_experiment(table.parent, root / study / name, params.config, found, times)
