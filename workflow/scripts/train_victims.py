from poisonlab.pipeline.jobs import grouped, job

with job(snakemake) as progress:
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.results.storage import write_table
    from poisonlab.victims.chunk import train_chunk

    wildcards, params = snakemake.wildcards, snakemake.params
    settings = params.settings
    rows = train_chunk(
        Dataset.load(snakemake.input.data),
        grouped(settings["conditions"], snakemake.input.poisons),
        snakemake.output.victims,
        {"study": wildcards.study, "experiment": wildcards.experiment},
        settings["repeats"],
        settings["model"],
        settings["recipe"],
        settings["precision"],
        settings["device"],
        params.version,
        settings["per_draw"],
        settings["value"],
        # No parameter of the rule, which would train again when it changes; Snakemake's command line gives it as a
        # word.
        str(snakemake.config.get("keep_victims", True)).lower() == "true",
        progress,
        f"results/seconds/{wildcards.study}/{wildcards.experiment}/{wildcards.variant}/{wildcards.chunk}.json",
    )
    write_table(rows, snakemake.output.table)
