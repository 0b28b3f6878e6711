from poisonlab.pipeline.jobs import job

with job(snakemake):
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.datasets.draws import of_draw
    from poisonlab.evaluation.maps import map_victims
    from poisonlab.poisons import files
    from poisonlab.results.storage import write_tensors
    from poisonlab.victims.chunk import load_chunk
    from poisonlab.victims.proxies import Proxy

    inputs, settings = snakemake.input, snakemake.params.settings
    # One victim for each value of the sweep: the first repeat of the first draw.
    (condition,), poison = settings["conditions"], files.load(inputs.poison)
    victims = load_chunk(inputs.victims, {condition: [inputs.poison]}, {}, settings["repeats"][:1])
    proxy = Proxy.finished(inputs.proxy[0])[0] if inputs.proxy else None
    arrays = map_victims(
        [(value, *victim[1:]) for value, victim in zip(poison.values, victims, strict=True)],
        poison.poisons,
        of_draw(Dataset.load(inputs.data), settings["per_draw"], poison.draw),
        settings["model"],
        (proxy.model, dict(proxy.parameters)) if proxy else None,
        settings["paths"],
        settings["device"],
    )
    write_tensors(arrays, snakemake.output[0])
