from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.victims.proxies import Proxy, featured

    first, images = Proxy.finished(snakemake.input.proxy)[0], Dataset.load(snakemake.input.data)
    featured(snakemake.wildcards.dataset, first, images, snakemake.params.device).save(snakemake.output[0])
