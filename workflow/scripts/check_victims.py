from poisonlab.pipeline.jobs import grouped, job

with job(snakemake) as progress:
    import pandas as pd

    from poisonlab.datasets.dataset import Dataset
    from poisonlab.evaluation.masking import check_victims
    from poisonlab.results.storage import write_table
    from poisonlab.victims.chunk import load_chunk
    from poisonlab.victims.proxies import Proxy
    from poisonlab.victims.timing import seconds_of

    wildcards, files, settings = snakemake.wildcards, snakemake.input, snakemake.params.settings
    columns = {"study": wildcards.study, "experiment": wildcards.experiment}
    dataset, proxy = Dataset.load(files.data), Proxy.finished(files.proxy)[0]
    poisons, tables = list(files.poisons), []
    for file, own in zip(files.victims, settings["jobs"], strict=True):
        count = len(own["conditions"]) * len(own["draws"])
        mine, poisons = grouped(own["conditions"], poisons[:count]), poisons[count:]
        tables.append(
            check_victims(
                load_chunk(file, mine, columns, own["repeats"], own["value"]),
                dataset,
                own["model"],
                settings["epsilon"],
                (proxy.model, dict(proxy.parameters)),
                seconds_of(file, f"results/seconds/{wildcards.study}/{wildcards.experiment}"),
                settings["device"],
                progress,
            )
        )
    write_table(pd.concat(tables, ignore_index=True), snakemake.output[0])
