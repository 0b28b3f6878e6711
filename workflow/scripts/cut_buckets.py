from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.analyses.path_surveys import cut_buckets
    from poisonlab.results.storage import read_table, write_table

    source = read_table(snakemake.input[0])
    if "bucket" not in source:  # paths, not buckets of an archived run
        source = cut_buckets(source[source["proxy_seed"] == 0], **snakemake.params.settings)
    write_table(source, snakemake.output[0])
