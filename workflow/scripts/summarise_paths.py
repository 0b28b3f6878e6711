from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.analyses.surveys import PATH_COLUMNS, extremes, issues_by_distance, lengths
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.results.storage import read_table, write_table, write_tensors

    name, settings, output = snakemake.wildcards.paths, snakemake.params.settings, snakemake.output
    traced = {seed: read_table(file, PATH_COLUMNS) for seed, file in enumerate(snakemake.input.paths)}
    issues = read_table(snakemake.input.issues)
    dataset = Dataset.load(snakemake.input.data)
    write_table(lengths(name, traced), output.lengths, csv=True)
    write_table(issues_by_distance(name, traced, issues, settings["issues_among"]), output.issues, csv=True)
    images, names = extremes(dataset, traced[0], issues, settings["extremes"])
    write_tensors(images, output.extremes, names)
