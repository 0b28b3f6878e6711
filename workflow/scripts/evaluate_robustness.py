from poisonlab.pipeline.jobs import job, numbers

with job(snakemake) as progress:
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.evaluation.robustness import evaluate_chunk
    from poisonlab.results.storage import write_table
    from poisonlab.victims.chunk import load_chunk

    wildcards, settings = snakemake.wildcards, snakemake.params.settings
    columns = {"study": wildcards.study, "experiment": wildcards.experiment}
    columns |= settings["columns"]
    poisons = dict(zip(wildcards.conditions.split("+"), snakemake.input.poisons, strict=True))
    victims = load_chunk(snakemake.input.victims, poisons, columns, numbers(wildcards.repeats))
    rows = evaluate_chunk(victims, Dataset.load(snakemake.input.data), settings, snakemake.params.device, progress)
    write_table(rows, snakemake.output[0])
