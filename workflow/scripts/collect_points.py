from poisonlab.pipeline.jobs import job

with job(snakemake):
    import pandas as pd

    from poisonlab.evaluation.points import by_distance
    from poisonlab.results.storage import read_table, write_table

    write_table(by_distance(pd.concat([read_table(file) for file in snakemake.input])), snakemake.output[0])
