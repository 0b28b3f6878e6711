from poisonlab.pipeline.jobs import job

with job(snakemake) as progress:
    import pandas as pd

    from poisonlab.claims import load_claims
    from poisonlab.multiverse.judging import specifications
    from poisonlab.results.storage import read_table, write_table

    files, own = snakemake.input, snakemake.params.settings
    tables = {name: pd.concat(map(read_table, getattr(files, name)), ignore_index=True) for name in own["tables"]}
    claims = [one for one in load_claims(list(files.claims)) if own["claims"] is None or one.id in own["claims"]]
    judged = (own["combinations"], own["columns"], own["size"], own["headlines"])
    write_table(specifications(claims, tables, *judged, progress), snakemake.output.table, csv=True)
