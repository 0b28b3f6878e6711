from poisonlab.pipeline.jobs import job

with job(snakemake) as progress:
    from poisonlab.attacks.paths import trace
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.results.storage import read_tensors, write_table

    settings = dict(snakemake.params.settings)
    parameters, _ = read_tensors(snakemake.input.proxy)
    dataset = Dataset.load(snakemake.input.data)
    traced = trace(
        dataset, settings.pop("model"), parameters, **settings, device=snakemake.params.device, progress=progress
    )
    write_table(traced, snakemake.output[0], settings)
