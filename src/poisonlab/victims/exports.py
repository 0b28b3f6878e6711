"""A victim as plain PyTorch: its weights, or the whole network as a program that needs none of its code."""

import copy
import io
import re
import warnings
from pathlib import Path

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError, one_line
from poisonlab.pipeline.plan import Plan
from poisonlab.poisons import files
from poisonlab.results.storage import atomic, read_tensors
from poisonlab.victims.checkpoint import by_victim
from poisonlab.victims.victim import Weights

KEY = re.compile(r"(.+)_draw-(\d+)(?:_axis-.+)?_repeat-\d+")  # see `chunk.victim_key`


def export_victim(plan: Plan, file: Path, out: Path, key: str | None = None) -> str:
    """Write a victim as `.pt` (a state_dict) or as `.pt2` (a program of `torch.export`), and say what was written.

    A program takes a batch of inputs [n, …], float32 (images: uint8 / 255), and returns logits [n, classes].

    Args:
        file: results/victims/<study>/<experiment>/<victim>/<job>.safetensors.
        out: the name's ending chooses the format.
        key: name of the victim in its file; None takes the only one.

    Raises:
        InputError: a file cannot be read, there is no such victim, or its network cannot be written as a program.
    """
    import torch

    victims = by_victim(read_tensors(file)[0])
    if key is None and len(victims) == 1:
        (key,) = victims
    if key not in victims:
        known = [*list(victims)[:8], *(["…"] if len(victims) > 8 else [])]
        asked = "names no victim" if key is None else f"has no victim '{key}'"
        raise InputError(f"'{file}' {asked}; choose one of {', '.join(known)} by --victim")
    weights = {name: torch.from_numpy(copy.copy(array)) for name, array in victims[key].items()}
    if out.suffix == ".pt":
        with atomic(out) as temporary:
            torch.save(weights, temporary)
        return f"{out}: the weights of '{key}', a state_dict of {len(weights)} tensors"
    if out.suffix == ".pt2":
        _write_program(plan, file, key, victims[key], out)
        return f"{out}: the network of '{key}'; torch.export.load(…).module() gives logits of inputs [n, …] in float32"
    raise InputError(f"'{out}' ends in '{out.suffix}', allowed are .pt and .pt2; rename it")


def _write_program(plan: Plan, file: Path, key: str, weights: Weights, out: Path) -> None:
    import torch

    from poisonlab.models.inference import rebuild

    study, experiment, variant = file.parts[-4:-1]
    data = Dataset.load(plan.data_file(plan.dataset(study, experiment)))
    classes = _classes(plan, study, experiment, key)
    own = plan.variants(study, experiment)[variant].training["model"]
    network = rebuild(own, data.input_shape, classes, weights, torch.device("cpu"))
    network = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    example = torch.zeros(2, *data.input_shape)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch's own parts
            program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("n")},))
            written = io.BytesIO()
            torch.export.save(program, written)
    except Exception as error:  # of a network of the user's: anything may be in it that cannot be traced
        raise InputError(
            f"the network of '{key}' cannot be written as a program ({one_line(error)[:200]}); export its "
            "weights as .pt"
        ) from error
    with atomic(out) as temporary:
        temporary.write_bytes(written.getvalue())


def _classes(plan: Plan, study: str, experiment: str, key: str) -> int:
    """Number of classes of a victim, which its poison may have added to."""
    conditions, named = plan.conditions(study, experiment), KEY.fullmatch(key)
    if not named or named[1] not in conditions:
        raise InputError(f"{study}.experiments.{experiment} has no victim '{key}'; give the --config of its run")
    found = files.load(plan.poison_file(study, conditions[named[1]]["poison"], int(named[2])))
    return max(one.num_classes for one in found.poisons)
