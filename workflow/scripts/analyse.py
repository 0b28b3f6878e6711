from poisonlab.pipeline.jobs import job

with job(snakemake) as progress:
    from poisonlab.analyses import analyse
    from poisonlab.results.storage import write_table, write_tensors

    output = snakemake.output
    found = analyse(snakemake.params.settings, list(snakemake.input), snakemake.params.device, progress)
    write_table(found.table, output.table, csv=True)
    write_tensors(dict(found.arrays), output.arrays, found.metadata)
