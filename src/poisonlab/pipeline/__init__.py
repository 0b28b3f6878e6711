"""What a configuration makes Snakemake do."""
