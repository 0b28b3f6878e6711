from poisonlab.pipeline.jobs import job

with job(snakemake):
    import pandas as pd

    from poisonlab.claims import judge, load_claims, with_own_shown
    from poisonlab.documents.claim_rows import claim_rows
    from poisonlab.documents.scorecard import scorecard_page
    from poisonlab.multiverse.verdicts import summary, with_choices
    from poisonlab.results.storage import atomic, read_table

    params, output = snakemake.params, snakemake.output
    tables = {key: {name: read_table(file) for name, file in files.items()} for key, files in params.inputs.items()}
    claims = load_claims(list(snakemake.input.claims))
    scorecard = judge(claims, tables, params.headlines, params.seconds)
    if files := list(snakemake.input.multiverses):
        scorecard = with_choices(scorecard, pd.concat([summary(read_table(file)) for file in files]))
    scorecard = with_own_shown(scorecard)
    page = scorecard_page(claim_rows(claims, scorecard, None, params.headlines, params.labels), params.titles)
    with atomic(output.markdown) as markdown, atomic(output.csv) as csv:
        markdown.write_text(page, encoding="utf-8")
        scorecard.to_csv(csv, index=False, float_format="%.9g")  # the digits behind differ between processors
