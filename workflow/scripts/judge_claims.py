from poisonlab.pipeline.jobs import job

with job(snakemake):
    import pandas as pd

    from poisonlab.claims import judge, load_claims, write_scorecard
    from poisonlab.multiverse.verdicts import summary, with_choices
    from poisonlab.results.storage import read_table

    params, output = snakemake.params, snakemake.output
    tables = {key: {name: read_table(file) for name, file in files.items()} for key, files in params.inputs.items()}
    scorecard = judge(load_claims(list(snakemake.input.claims)), tables, params.headlines)
    if files := list(snakemake.input.multiverses):
        scorecard = with_choices(scorecard, pd.concat([summary(read_table(file)) for file in files]))
    write_scorecard(scorecard, output.markdown, output.csv)
