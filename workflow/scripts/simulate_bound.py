from poisonlab.jobs import job

with job(snakemake):
    from poisonlab.seeds import seed
    from poisonlab.storage import write_table
    from poisonlab.theorems import Balls, simulate

    settings = dict(snakemake.params.settings)
    runs, shares, radii = (settings.pop(name) for name in ("runs", "shares", "radii"))
    rows = simulate(Balls(**settings), runs, shares, radii, seed("bound"))
    write_table(rows, snakemake.output.runs, csv=True)
