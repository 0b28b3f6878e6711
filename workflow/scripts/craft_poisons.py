from poisonlab.pipeline.jobs import job, version

with job(snakemake) as progress:
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.datasets.draws import of_draw
    from poisonlab.poisons import files
    from poisonlab.poisons.crafting import craft
    from poisonlab.poisons.needs import read_needs
    from poisonlab.results.storage import workspace

    params, outputs = snakemake.params, iter(snakemake.output)
    dataset = Dataset.load(snakemake.input.data)
    for name, settings in params.poisons.items():
        needs = read_needs(settings["needs"], snakemake.input.needs)
        for draw in settings["draws"]:
            file, own = next(outputs), of_draw(dataset, settings["per_draw"], draw)
            with workspace(file, version(snakemake)) as place:
                poisons = craft(own, settings, needs, draw, params.device, place, progress)
                facts = {key: settings[key] for key in ("strategy", "parameters", "flips", "budget", "per")}
                files.save(
                    file, poisons, own, draw=draw, sweep=settings["sweep"], values=settings["values"], settings=facts
                )
            progress(f"{name}: draw {draw} crafted")
