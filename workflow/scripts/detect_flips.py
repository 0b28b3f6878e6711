from poisonlab.pipeline.jobs import job

with job(snakemake) as progress:
    import pandas as pd

    from poisonlab.datasets.dataset import Dataset
    from poisonlab.datasets.draws import of_draw
    from poisonlab.evaluation.detection import detect
    from poisonlab.poisons.files import load
    from poisonlab.poisons.poison import apply
    from poisonlab.results.storage import write_table

    wildcards, files, settings = snakemake.wildcards, snakemake.input, snakemake.params.settings
    dataset, tables = Dataset.load(files.data), []
    for (condition, draw), file in zip(settings["places"], files.poisons, strict=True):
        own, crafted = of_draw(dataset, settings["per_draw"], draw), load(file)
        for poison, value in zip(crafted.poisons, crafted.values, strict=True):
            keys = {"study": wildcards.study, "experiment": wildcards.experiment, "condition": condition}
            keys |= {"axis_value": float("nan") if value is None else value, "draw": draw}
            how = (settings[key] for key in ("model", "recipe", "precision", "device"))
            training_set = apply(poison, own)
            if len(training_set.poisoned):  # points that are left out cannot be found
                tables.append(detect(training_set, own, *how, progress).assign(**keys))
            progress(f"{condition}, draw {draw} of {len(files.poisons)} poisons")
    write_table(pd.concat(tables, ignore_index=True), snakemake.output[0])
