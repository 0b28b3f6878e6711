from poisonlab.pipeline.jobs import job

with job(snakemake):
    import pandas as pd

    from poisonlab import figures
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.poisons import poison
    from poisonlab.results.storage import atomic, read_table, read_tensors

    settings, output = snakemake.params.figure, snakemake.output
    # Whatever is none of these is a table.
    readers = {name: read_tensors for name in ("extremes", "example", "idea")}
    readers |= {"data": Dataset.load, "poisons": poison.load}
    inputs = {}
    for artefact, files in settings["files"].items():
        if artefact in readers:
            inputs[artefact] = readers[artefact](files[0])
        elif artefact == "maps":
            inputs[artefact] = [read_tensors(file)[0] for file in files]
        else:
            inputs[artefact] = pd.concat(map(read_table, files), ignore_index=True)
    figure, caption = figures.draw(settings["kind"], inputs, settings["options"])
    figures.save(figure, output.svg, output.png)
    with atomic(output.caption) as temporary:
        temporary.write_text(" ".join(filter(None, [caption, settings["note"]])) + "\n")
