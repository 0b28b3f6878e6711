from pathlib import Path

from poisonlab.pipeline.jobs import job

with job(snakemake):
    import pandas as pd

    from poisonlab.claims import load_claims
    from poisonlab.documents.comparison import COLUMNS, SPREAD, compare, spread
    from poisonlab.documents.page import Picture, study_page
    from poisonlab.results.storage import atomic, read_table

    files, study = snakemake.input, snakemake.wildcards.study
    pictures = [
        Picture(**facts, caption=Path(file).read_text())
        for facts, file in zip(snakemake.params.figures, files.captions, strict=True)
    ]
    experiments = {
        name: {table: read_table(file) for table, file in tables.items()}
        for name, tables in snakemake.params.compared.items()
    }
    strategies = pd.concat([pd.DataFrame(columns=COLUMNS), *(compare(*one) for one in experiments.items())])
    victims = pd.concat([pd.DataFrame(columns=SPREAD), *(spread(*one) for one in experiments.items())])
    page = study_page(study, pictures, load_claims(files.claims), read_table(files.scorecard), strategies, victims)
    with atomic(snakemake.output[0]) as temporary:
        temporary.write_text(page)
