from poisonlab.pipeline.jobs import job

with job(snakemake) as progress:
    from poisonlab.analyses.label_issues import find_label_issues
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.results.storage import write_table

    params = snakemake.params
    dataset = Dataset.load(snakemake.input.data)
    issues = find_label_issues(dataset, params.model, params.recipe, params.precision, params.device, progress)
    write_table(issues, snakemake.output[0])
