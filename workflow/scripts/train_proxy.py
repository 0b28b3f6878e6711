from poisonlab.pipeline.jobs import job

with job(snakemake) as progress:
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.results.storage import write_tensors
    from poisonlab.victims.proxy import train_proxy

    wildcards, params = snakemake.wildcards, snakemake.params
    proxy = train_proxy(
        Dataset.load(snakemake.input.data),
        wildcards.model,
        params.recipe,
        int(wildcards.proxy_seed),
        params.precision,
        params.device,
        progress,
    )
    write_tensors(
        proxy.parameters, snakemake.output[0], {"epochs": proxy.epochs, "train_accuracy": proxy.train_accuracy}
    )
