import itertools

from poisonlab.pipeline.jobs import job, numbers

with job(snakemake):
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.datasets.toys import redrawn
    from poisonlab.poisons import poison, strategies
    from poisonlab.results.storage import read_table, read_tensors

    readers = {
        "buckets": read_table,
        "colours": read_table,
        "features": lambda file: read_tensors(file)[0]["features"],
        "logits": lambda file: read_tensors(file)[0]["logits"],
    }

    redraw = snakemake.params.redraw
    settings, dataset = snakemake.params.strategy, Dataset.load(snakemake.input.data)
    needs = {name: readers[name](file) for name, file in zip(settings["needs"], snakemake.input.needs, strict=True)}
    draws = numbers(snakemake.wildcards.draws)
    poisons = [one for draw in draws for one in strategies.craft(redrawn(dataset, redraw, draw), settings, needs, draw)]
    poison.save(poisons, list(itertools.product(draws, settings["axis_values"])), snakemake.output[0])
