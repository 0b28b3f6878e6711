from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.analyses.theorems import Balls, simulate
    from poisonlab.results.storage import write_table
    from poisonlab.seeds import seed

    settings = dict(snakemake.params.settings)
    runs, shares, radii = (settings.pop(name) for name in ("runs", "shares", "radii"))
    rows = simulate(Balls(**settings), runs, shares, radii, seed("bound"))
    write_table(rows, snakemake.output.runs, csv=True)
