from poisonlab.pipeline.jobs import grouped, job

with job(snakemake) as progress:
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.evaluation.robustness import evaluate_chunk
    from poisonlab.results.storage import write_table
    from poisonlab.victims.chunk import load_chunk

    wildcards, settings = snakemake.wildcards, snakemake.params.settings
    columns = {"study": wildcards.study, "experiment": wildcards.experiment, **settings["columns"]}
    poisons = grouped(settings["conditions"], snakemake.input.poisons)
    victims = load_chunk(snakemake.input.victims, poisons, columns, settings["repeats"], settings["value"])
    rows = evaluate_chunk(victims, Dataset.load(snakemake.input.data), settings, settings["device"], progress)
    write_table(rows, snakemake.output[0])
