from poisonlab.pipeline.jobs import job

with job(snakemake):
    import pandas as pd
    import torch

    from poisonlab.analyses.theorems import cover
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.models.inference import to_float
    from poisonlab.results.storage import write_table
    from poisonlab.seeds import seed

    settings, dataset = snakemake.params.settings, Dataset.load(snakemake.input.data)
    images = to_float(torch.from_numpy(dataset.train_images)).numpy()
    keep = {key: settings[key] for key in ("candidates", "noise", "delta")}
    tables = [
        cover(images, dataset.train_labels, radii, norm, **keep, seed=seed("cover"))
        for norm, radii in settings["radii"].items()
    ]
    write_table(pd.concat(tables, ignore_index=True), snakemake.output.cover, csv=True)
