from poisonlab.jobs import job

with job(snakemake):
    from poisonlab.buckets import PATH_COLUMNS, cut_buckets
    from poisonlab.storage import read_table, write_table

    write_table(
        cut_buckets(read_table(snakemake.input.paths, PATH_COLUMNS), **snakemake.params.settings), snakemake.output[0]
    )
