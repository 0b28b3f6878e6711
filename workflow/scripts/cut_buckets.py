from poisonlab.jobs import job

with job(snakemake):
    from poisonlab.paths import COLUMNS, cut_buckets
    from poisonlab.storage import read_table, write_table

    write_table(
        cut_buckets(read_table(snakemake.input.paths, COLUMNS), **snakemake.params.settings), snakemake.output[0]
    )
