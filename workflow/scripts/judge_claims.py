from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.claims import judge, load_claims, write_scorecard
    from poisonlab.results.storage import read_table

    params, output = snakemake.params, snakemake.output
    tables = {key: {name: read_table(file) for name, file in files.items()} for key, files in params.inputs.items()}
    scorecard = judge(load_claims(list(snakemake.input.claims)), tables, params.headlines)
    write_scorecard(scorecard, output.markdown, output.csv)
