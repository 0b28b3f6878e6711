from poisonlab.pipeline.jobs import job, version

with job(snakemake) as progress:
    from poisonlab.multiverse.running import run
    from poisonlab.results.storage import workspace, write_table

    output = snakemake.output
    with workspace(output.victims, version(snakemake)) as place:
        for name, table in run(snakemake.params.settings, place, progress).items():
            write_table(table, getattr(output, name))
