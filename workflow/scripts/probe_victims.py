from poisonlab.pipeline.jobs import grouped, job

with job(snakemake) as progress:
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.datasets.draws import of_draw
    from poisonlab.evaluation.probes import probe_chunk
    from poisonlab.results.storage import write_table
    from poisonlab.victims.chunk import crafted, load_chunk
    from poisonlab.victims.proxies import Proxy

    wildcards, files, settings = snakemake.wildcards, snakemake.input, snakemake.params.settings
    columns = {"study": wildcards.study, "experiment": wildcards.experiment}
    poisons = grouped(settings["conditions"], files.poisons)
    dataset, pieces, repeats = Dataset.load(files.data), crafted(poisons), settings["repeats"]
    drawn = {draw: of_draw(dataset, settings["per_draw"], draw) for draw in settings["draws"]}
    proxy = Proxy.finished(files.proxy[0])[0] if files.proxy else None
    rows = probe_chunk(
        load_chunk(files.victims, poisons, columns, repeats, settings["value"]),
        [poison for _, poison, _ in pieces for _ in repeats],
        [drawn[place[0]] for *_, place in pieces for _ in repeats],
        settings["model"],
        (proxy.model, dict(proxy.parameters)) if proxy else None,
        settings["paths"],
        settings["points"],
        settings["device"],
        progress,
    )
    write_table(rows, snakemake.output[0])
