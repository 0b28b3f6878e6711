"""Victims of some combinations of choices: trained and attacked as those of ordinary experiments, by the same code."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.draws import of_draw
from poisonlab.errors import InputError
from poisonlab.evaluation.probes import probe_chunk
from poisonlab.evaluation.robustness import evaluate_chunk
from poisonlab.multiverse.grid import named
from poisonlab.results.storage import Workspace, read_table, read_table_metadata, write_table
from poisonlab.results.tables import KEYS, concatenate, conditions_table, with_probes, without_copies
from poisonlab.victims.chunk import crafted, load_chunk, train_chunk

Tables = dict[str, pd.DataFrame]
Progress = Callable[[str], None]


def run(settings: Mapping[str, Any], place: Workspace, progress: Progress = lambda line: None) -> Tables:
    """Train and attack the victims of every experiment under every combination, one after the other.

    A finished combination is kept in the workspace, victims of the one under way in their chunk's own files: a killed
    job goes on from there.

    Args:
        settings: `study`, `repeats`; `combinations`: number → choices and, by experiment, `training` (model, recipe,
            precision, device, …); `experiments`: name → `data` and, by condition, `poisons` (files), `per_draw`,
            `attacks`, `flips`, `columns`, `probed` (points, 0 for no probes) and `described`, as the rules of an
            ordinary experiment take them.

    Returns:
        conditions, victims and robustness, with the combination's number in a column `combination`; `seconds` in
        conditions are those of a core that the experiment took.
    """
    parts: list[Tables] = []
    for count, (number, one) in enumerate(settings["combinations"].items()):
        start = f"combination {count + 1} of {len(settings['combinations'])} ({named(one['choices'])})"
        for experiment in settings["experiments"]:

            def told(line: str, start: str = f"{start}, {experiment}") -> None:
                progress(f"{start}: {line}")

            files = {name: place.folder / str(number) / f"{experiment}.{name}.parquet" for name in KEYS}
            found = _kept(files, place.version)
            if found is None:
                found = _one(settings, experiment, one["training"][experiment], place, told)
                for name, table in found.items():
                    write_table(table, files[name], {"version": place.version})
            parts.append({name: table.assign(combination=int(number)) for name, table in found.items()})
    return {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in KEYS}


def _kept(files: Mapping[str, Path], version: str) -> Tables | None:
    """Tables that a killed run has finished; None where one is missing, damaged or of another version."""
    try:
        if all(read_table_metadata(file).get("version") == version for file in files.values()):
            return {name: read_table(file) for name, file in files.items()}
    except InputError:
        pass
    return None


def _one(
    settings: Mapping[str, Any], experiment: str, training: Mapping[str, Any], place: Workspace, progress: Progress
) -> Tables:
    """Tables of one experiment under one combination."""
    study, own, repeats = settings["study"], settings["experiments"][experiment], settings["repeats"]
    dataset, start = Dataset.load(own["data"]), time.process_time()
    columns = {"study": study, "experiment": experiment}
    output = place.folder / "victims" / experiment / "chunk.safetensors"
    how = (training["model"], training["recipe"], training["precision"], training["device"])
    victims = train_chunk(
        dataset, own["poisons"], output, columns, repeats, *how, place.version, own["per_draw"], keep=False,
        progress=progress,
    )  # fmt: skip
    trained = load_chunk(output, own["poisons"], {**columns, **own["columns"]}, repeats)
    asked = {"model": training["model"], "attacks": own["attacks"], "flips": own["flips"]}
    robustness = evaluate_chunk(trained, dataset, asked, training["device"], progress)
    if own["probed"]:
        pieces = [(poison, place[0]) for _, poison, place in crafted(own["poisons"]) for _ in repeats]
        drawn = {draw: of_draw(dataset, own["per_draw"], draw) for draw in {draw for _, draw in pieces}}
        around = [poison for poison, _ in pieces], [drawn[draw] for _, draw in pieces]
        rows = probe_chunk(trained, *around, training["model"], None, {}, own["probed"], training["device"], progress)
        victims = with_probes(victims, [rows])
    output.unlink()
    victims, robustness, _ = without_copies(concatenate([victims], "victims"), concatenate([robustness], "robustness"))
    conditions = conditions_table(study, experiment, own["described"], victims, None, dataset)
    conditions["seconds"] = time.process_time() - start
    return {"conditions": conditions, "victims": victims, "robustness": robustness}
