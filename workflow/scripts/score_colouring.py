import json

from poisonlab.pipeline.jobs import job

with job(snakemake) as progress:
    from poisonlab.analyses.colouring import score_points
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.results.storage import write_table, write_tensors

    params, output = snakemake.params, snakemake.output
    dataset = Dataset.load(snakemake.input.data)
    scores, idea = score_points(dataset, params.settings, params.recipe, params.precision, params.device, progress)
    write_table(scores, output.scores, csv=True)
    write_tensors(idea, output.idea, {"settings": json.dumps(params.settings, sort_keys=True)})
