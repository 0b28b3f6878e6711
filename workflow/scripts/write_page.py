from pathlib import Path

from poisonlab.pipeline.jobs import job

with job(snakemake):
    import pandas as pd

    from poisonlab.claims import load_claims
    from poisonlab.documents.claim_rows import claim_rows
    from poisonlab.documents.comparison import COLUMNS, SPREAD, compare, spread
    from poisonlab.documents.page import Picture, study_page, support_page
    from poisonlab.documents.places import tables
    from poisonlab.results.archive import archived_hours
    from poisonlab.results.query import Headline, Query
    from poisonlab.results.storage import atomic, read_table

    files, params, study = snakemake.input, snakemake.params, snakemake.wildcards.study
    pictures = [Picture(**facts, caption=Path(file).read_text()) for file, facts in params.figures.items()]
    experiments = [
        Query(name, {key: read_table(file) for key, file in stored.items()}, Headline.of(params.headlines.get(name)))
        for name, stored in params.compared.items()
    ]
    strategies = pd.concat([pd.DataFrame(columns=COLUMNS), *map(compare, experiments)])
    victims = pd.concat([pd.DataFrame(columns=SPREAD), *map(spread, experiments)])
    claims, labels = load_claims(list(files.claims)), {study: params.words}
    rows = claim_rows(claims, read_table(files.scorecard), None, params.headlines, labels)
    by_place = tables(rows, params.places, experiments, params.words)
    training = archived_hours(Path(params.archived)) if params.archived else (0.0, 0, 0)
    pages = {
        "page": study_page(params.title, study, pictures, rows, params.findings, by_place),
        "support": support_page(params.title, study, pictures, strategies, victims, params.words, training),
    }
    for name, page in pages.items():
        with atomic(snakemake.output[name]) as temporary:
            temporary.write_text(page)
