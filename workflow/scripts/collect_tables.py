from poisonlab.pipeline.jobs import job

with job(snakemake) as progress:
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.results.storage import read_table, write_table
    from poisonlab.results.tables import (
        concatenate,
        conditions_table,
        draws_in_words,
        metadata_of_copies,
        with_probes,
        without_copies,
    )

    wildcards, settings, output = snakemake.wildcards, snakemake.params.settings, snakemake.output
    victims = concatenate([read_table(file) for file in snakemake.input.victims], "victims")
    if snakemake.input.probes:
        victims = with_probes(victims, [read_table(file) for file in snakemake.input.probes])
    robustness = concatenate([read_table(file) for file in snakemake.input.robustness], "robustness")
    victims, robustness, copies = without_copies(victims, robustness)
    if len(copies):
        progress(
            f"same poisons as earlier draws, left out: {draws_in_words(copies)}; give the condition fewer draws, or a "
            "toy redraw: true"
        )
    buckets = read_table(snakemake.input.buckets[0]) if snakemake.input.buckets else None
    dataset = Dataset.load(snakemake.input.data[0])
    conditions = conditions_table(wildcards.study, wildcards.experiment, settings, victims, buckets, dataset)
    write_table(conditions, output.conditions, csv=True)
    write_table(victims, output.victims, metadata_of_copies(copies), csv=True)
    write_table(robustness, output.robustness, csv=True)
