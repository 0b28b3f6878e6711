from poisonlab.pipeline.jobs import job

with job(snakemake) as progress:
    import pandas as pd

    from poisonlab.attacks.paths import trace
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.results.storage import write_table
    from poisonlab.victims.proxies import Proxy

    settings, device = snakemake.params.settings, snakemake.params.device
    dataset = Dataset.load(snakemake.input.data)
    tables = [
        trace(dataset, proxy.model, proxy.parameters, **settings, device=device, progress=progress).assign(
            proxy_seed=proxy.seed
        )
        for proxy in Proxy.finished(snakemake.input.proxy)
    ]
    write_table(pd.concat(tables, ignore_index=True), snakemake.output[0], settings)
