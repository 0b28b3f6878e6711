from pathlib import Path

from poisonlab.jobs import job

with job(snakemake):
    from poisonlab.claims import load_claims
    from poisonlab.page import Picture, study_page
    from poisonlab.storage import atomic, read_table

    files, study = snakemake.input, snakemake.wildcards.study
    pictures = [
        Picture(**facts, caption=Path(file).read_text())
        for facts, file in zip(snakemake.params.figures, files.captions, strict=True)
    ]
    page = study_page(study, pictures, load_claims(files.claims), read_table(files.scorecard))
    with atomic(snakemake.output[0]) as temporary:
        temporary.write_text(page)
