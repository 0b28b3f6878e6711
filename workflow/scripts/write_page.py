from pathlib import Path

from poisonlab.pipeline.jobs import job

with job(snakemake):
    import pandas as pd

    from poisonlab.claims import load_claims
    from poisonlab.documents.comparison import COLUMNS, SPREAD, compare, spread
    from poisonlab.documents.page import Picture, study_page
    from poisonlab.results.query import Headline, Query
    from poisonlab.results.storage import atomic, read_table

    files, params, study = snakemake.input, snakemake.params, snakemake.wildcards.study
    pictures = [Picture(**facts, caption=Path(file).read_text()) for file, facts in params.figures.items()]
    experiments = [
        Query(name, {key: read_table(file) for key, file in tables.items()}, Headline.of(params.headlines.get(name)))
        for name, tables in params.compared.items()
    ]
    strategies = pd.concat([pd.DataFrame(columns=COLUMNS), *map(compare, experiments)])
    victims = pd.concat([pd.DataFrame(columns=SPREAD), *map(spread, experiments)])
    claims = load_claims(list(files.claims))
    judged = read_table(files.scorecard)
    page = study_page(params.title, study, pictures, claims, judged, strategies, victims, params.findings, params.words)
    with atomic(snakemake.output[0]) as temporary:
        temporary.write_text(page)
