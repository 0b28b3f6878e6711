from poisonlab.pipeline.jobs import job, numbers

with job(snakemake) as progress:
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.datasets.toys import redrawn
    from poisonlab.evaluation.probes import probe_chunk
    from poisonlab.results.storage import read_tensors, write_table
    from poisonlab.victims.chunk import crafted, load_chunk

    wildcards, files, settings = snakemake.wildcards, snakemake.input, snakemake.params.settings
    columns = {"study": wildcards.study, "experiment": wildcards.experiment}
    repeats = numbers(wildcards.repeats)
    poisons = dict(zip(wildcards.conditions.split("+"), files.poisons, strict=True))
    dataset, pieces = Dataset.load(files.data), crafted(poisons)
    drawn = {draw: redrawn(dataset, snakemake.params.redraw, draw) for draw in {place[0] for *_, place in pieces}}
    rows = probe_chunk(
        load_chunk(files.victims, poisons, columns, repeats),
        [poison for _, poison, _ in pieces for _ in repeats],
        [drawn[place[0]] for *_, place in pieces for _ in repeats],
        settings["model"],
        (settings["paths"]["model"], read_tensors(files.proxy[0])[0]) if files.proxy else None,
        settings["paths"],
        settings["points"],
        snakemake.params.device,
        progress,
    )
    write_table(rows, snakemake.output[0])
