from poisonlab.pipeline.jobs import job, version

with job(snakemake) as progress:
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.victims.proxy import train_proxies

    dataset, settings = Dataset.load(snakemake.input.data), snakemake.params.settings
    train_proxies(dataset, settings, snakemake.output[0], version(snakemake), progress)
