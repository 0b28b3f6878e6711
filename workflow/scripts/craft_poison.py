from poisonlab.jobs import job

with job(snakemake):
    from poisonlab import poison, strategies
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.storage import read_table

    settings, dataset = snakemake.params.strategy, Dataset.load(snakemake.input.data)
    needs = {name: read_table(file) for name, file in zip(settings["needs"], snakemake.input.needs, strict=True)}
    poisons = strategies.craft(dataset, settings, needs, int(snakemake.wildcards.draw))
    poison.save(poisons, settings["axis_values"], snakemake.output[0])
