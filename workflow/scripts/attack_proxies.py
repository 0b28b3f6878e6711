from poisonlab.pipeline.jobs import job

with job(snakemake) as progress:
    from poisonlab.analyses.clean_nets import withstand
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.results.storage import read_tensors, write_table, write_tensors

    params, output = snakemake.params, snakemake.output
    proxies = [read_tensors(file)[0] for file in snakemake.input.proxies]
    rows, example = withstand(
        Dataset.load(snakemake.input.data), params.model, proxies, params.settings, params.device, progress
    )
    write_table(rows, output.nets, csv=True)
    write_tensors(example, output.example)
