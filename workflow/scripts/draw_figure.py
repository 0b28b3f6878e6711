from poisonlab.jobs import job

with job(snakemake):
    import pandas as pd

    from poisonlab import figures
    from poisonlab.storage import atomic, read_table, read_tensors

    settings, output = snakemake.params.figure, snakemake.output
    inputs = {
        artefact: read_tensors(files[0])
        if artefact == "extremes"
        else pd.concat(map(read_table, files), ignore_index=True)
        for artefact, files in settings["files"].items()
    }
    figure, caption = figures.draw(settings["kind"], inputs, settings["options"])
    figures.save(figure, output.svg, output.png)
    with atomic(output.caption) as temporary:
        temporary.write_text(caption + "\n")
