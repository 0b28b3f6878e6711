from poisonlab.pipeline.jobs import job

with job(snakemake):
    import torch

    from poisonlab.datasets.dataset import Dataset
    from poisonlab.errors import InputError
    from poisonlab.models.inference import features, logits, rebuild, resolve_device, to_float
    from poisonlab.results.storage import read_tensors, write_tensors

    model, device = snakemake.params.model, resolve_device(snakemake.params.device)
    dataset = Dataset.load(snakemake.input.data)
    parameters = read_tensors(snakemake.input.proxy)[0]
    network = rebuild(model, dataset.input_shape, dataset.num_classes, parameters, device)
    inputs = to_float(torch.from_numpy(dataset.train_images)).to(device)
    found = features(network, inputs)
    if found is None:
        raise InputError(f"model '{model}' has no linear layer whose inputs could be features; choose another model")
    answers = {"features": found, "logits": logits(network, inputs)}
    write_tensors({name: array.cpu().numpy() for name, array in answers.items()}, snakemake.output[0])
