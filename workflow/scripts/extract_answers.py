from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.results.storage import write_tensors
    from poisonlab.victims.proxies import Proxy, answers

    first = Proxy.finished(snakemake.input.proxy)[0]
    write_tensors(answers(first, Dataset.load(snakemake.input.data), snakemake.params.device), snakemake.output[0])
