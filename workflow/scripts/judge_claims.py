from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.claims import judge, load_claims, write_scorecard
    from poisonlab.results.storage import read_table

    tables = {
        key: {name: read_table(file) for name, file in files.items()} for key, files in snakemake.params.inputs.items()
    }
    scorecard = judge(load_claims(snakemake.input.claims), tables)
    write_scorecard(scorecard, snakemake.output.markdown, snakemake.output.csv)
