from poisonlab.pipeline.jobs import grouped, job

with job(snakemake) as progress:
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.evaluation.points import measure_chunk
    from poisonlab.results.storage import write_table
    from poisonlab.victims.chunk import crafted, load_chunk
    from poisonlab.victims.proxies import Proxy

    wildcards, files, settings = snakemake.wildcards, snakemake.input, snakemake.params.settings
    columns = {"study": wildcards.study, "experiment": wildcards.experiment}
    poisons = grouped(settings["conditions"], files.poisons)
    proxy = Proxy.finished(files.proxy)[0]
    rows = measure_chunk(
        load_chunk(files.victims, poisons, columns, settings["repeats"], settings["value"]),
        [poison for _, poison, _ in crafted(poisons) for _ in settings["repeats"]],
        Dataset.load(files.data),
        settings["model"],
        settings["attack"],
        (proxy.model, dict(proxy.parameters)),
        settings["device"],
        progress,
    )
    write_table(rows, snakemake.output[0])
