from pathlib import Path

from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.claims import load_claims
    from poisonlab.documents.claim_rows import claim_rows, read_quotes
    from poisonlab.documents.index import Study, Tab, index_page
    from poisonlab.documents.page import Picture
    from poisonlab.documents.victims import victim_columns
    from poisonlab.results.query import Headline, Query
    from poisonlab.results.storage import atomic, read_table

    tabs = []
    for one in snakemake.params.tabs:
        studies = []
        for study in one["studies"]:
            pictures = {
                file: Picture(**{**facts, "caption": Path(facts["caption"]).read_text(encoding="utf-8")})
                for file, facts in study.pop("figures").items()
            }
            studies.append(Study(**study, pictures=pictures))
        queries = [
            Query(
                name, {key: read_table(file) for key, file in tables.items()}, Headline.of(one["headlines"].get(name))
            )
            for name, tables in one["tables"].items()
        ]
        claims, quotes = load_claims(one["claims"]), {study: read_quotes(file) for study, file in one["quotes"].items()}
        victims, every = victim_columns(queries)
        rows = claim_rows(claims, read_table(one["scorecard"]), quotes, one["headlines"], one["labels"])
        tabs.append(Tab(one["name"], one["note"], studies, rows, not one["prefix"], victims, every))
    page = index_page(tabs, Path(snakemake.input.template).parent)
    with atomic(snakemake.output[0]) as temporary:
        temporary.write_text(page, encoding="utf-8")
