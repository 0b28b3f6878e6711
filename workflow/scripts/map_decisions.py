from poisonlab.pipeline.jobs import job, numbers

with job(snakemake):
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.datasets.toys import redrawn
    from poisonlab.evaluation.maps import map_victims
    from poisonlab.poisons import poison
    from poisonlab.results.storage import read_tensors, write_tensors
    from poisonlab.victims.chunk import load_chunk

    files, params = snakemake.input, snakemake.params
    settings, repeats = params.settings, numbers(params.chunk["repeats"])
    crafted, places = poison.load(files.poison)
    condition = params.chunk["condition"]
    # One victim for each value of the sweep axis: the first repeat of the first draw.
    draw = places[0][0]
    chosen = [n for n, place in enumerate(places) if place[0] == draw]
    victims = load_chunk(files.victims, {condition: files.poison}, {}, repeats)
    arrays = map_victims(
        [(places[n][1], *victims[n * len(repeats)][1:]) for n in chosen],
        [crafted[n] for n in chosen],
        redrawn(Dataset.load(files.data), params.redraw, draw),
        settings["model"],
        (settings["paths"]["model"], read_tensors(files.proxy[0])[0]) if files.proxy else None,
        settings["paths"],
        params.device,
    )
    write_tensors(arrays, snakemake.output[0])
