from poisonlab.pipeline.jobs import job

with job(snakemake) as progress:
    from poisonlab.analyses.class_graphs import degree_table, representations
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.results.storage import read_tensors, write_table

    settings, dataset = snakemake.params.settings, Dataset.load(snakemake.input.data)
    features = read_tensors(snakemake.input.features)[0]["features"]
    spaces = representations(dataset, features, settings["components"])
    degrees = degree_table(spaces, dataset.train_labels, settings["densities"], progress)
    write_table(degrees, snakemake.output.degrees, csv=True)
