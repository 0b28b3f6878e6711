"""What a killed chunk goes on from: the folder ``<output>.unfinished`` with its finished victims and the state of the
one under way.
"""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poisonlab.errors import InputError
from poisonlab.results import storage
from poisonlab.victims.victim import Weights

SECONDS_BETWEEN_SAVES = 5.0  # of finished victims; what a kill may cost beyond the victims under way
SECONDS_BETWEEN_STATES = 180.0  # of the victim under way
FOLDER = ".unfinished"  # ends the name of the folder
KNOWN = ".known"  # ends the second name of a chunk's file
Row = dict[str, Any]
Trained = dict[str, tuple[Weights, Row]]  # victim's key → its weights and its scalars


def write_victims(victims: Mapping[str, tuple[Weights, Row]], path: Path) -> None:
    """Write victims as one file."""
    tensors = {f"{key}/{name}": array for key, (state, _) in victims.items() for name, array in state.items()}
    scalars = {key: row for key, (_, row) in victims.items()}
    storage.write_tensors(tensors, path, {"victims": json.dumps(scalars, sort_keys=True)})


def by_victim(tensors: Mapping[str, Any]) -> dict[str, Weights]:
    """Weights of every victim in a file of `write_victims`."""
    victims: dict[str, Weights] = {}
    for name, array in tensors.items():
        key, _, parameter = name.partition("/")
        victims.setdefault(key, {})[parameter] = array
    return victims


def known_victims(experiment: Path, wanted: Mapping[str, str]) -> Trained:
    """Victims that other chunks of the experiment, or a killed run of this one, have already trained with the same
    identity.

    Args:
        experiment: folder of the chunks' folders.
        wanted: victim's key → its identity.
    """
    known: Trained = {}
    files = {file for pattern in ("*", f"*{FOLDER}/*") for file in experiment.glob(f"*/{pattern}.safetensors*")}
    for file in sorted(file for file in files if file.is_file()):
        if file.suffix == KNOWN and file.with_suffix("") in files:
            continue  # its second name
        try:
            tensors, metadata = storage.read_tensors(file)
        except InputError:
            continue  # files are written atomically; a damaged one is ignored
        rows, parameters = json.loads(metadata.get("victims", "{}")), by_victim(tensors)
        same = [key for key, row in rows.items() if wanted.get(key) == row["identity"]]
        known |= {key: (parameters[key], rows[key]) for key in same}
    return known


class Checkpoint:
    """The folder of one chunk. Finished victims are appended, so that the bytes written grow with their number.

    Args:
        output: file of the chunk; wanted: victim's key → its identity, on which a state of another is not resumed.
    """

    def __init__(self, output: Path, wanted: Mapping[str, str]) -> None:
        self.folder, self.wanted = output.with_name(f"{output.name}{FOLDER}"), wanted
        if self.folder.is_file():
            self.folder.unlink()  # as earlier versions wrote it
        self.state = self.folder / "under_way.state"
        self.new: Trained = {}
        self.saved = 0.0
        self.state_saved = time.monotonic()

    def add(self, key: str, weights: Weights, row: Row) -> None:
        """Take a finished victim; those since the last save are saved together, every few seconds."""
        self.new[key] = weights, row
        if time.monotonic() - self.saved >= SECONDS_BETWEEN_SAVES:
            number = sum(1 for _ in self.folder.glob("*.safetensors"))
            write_victims(self.new, self.folder / f"{number:06d}.safetensors")
            self.new, self.saved = {}, time.monotonic()
        self.state_saved = time.monotonic()

    def remove(self) -> None:
        """Remove the folder, once the chunk is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def load(self, key: str) -> tuple[Weights, dict[str, Any]] | None:
        """State in which a killed run left a victim, see `UnderWay`."""
        if not self.state.is_file():
            return None
        try:
            arrays, facts = storage.read_tensors(self.state)
        except InputError:
            return None
        return (arrays, facts) if facts.get("identity") == [key, self.wanted[key]] else None

    def due(self) -> bool:
        """Whether the state of the victim under way is to be saved again."""
        return time.monotonic() - self.state_saved >= SECONDS_BETWEEN_STATES

    def save(self, key: str, arrays: Weights, facts: dict[str, Any]) -> None:
        """Save the state of the victim under way."""
        storage.write_tensors(arrays, self.state, facts | {"identity": [key, self.wanted[key]]})
        self.state_saved = time.monotonic()


def link(file: Path) -> None:
    """Give a chunk's file its second name, in place of what had it: the same bytes, which take no more room where there
    are links.
    """
    name = file.with_name(f"{file.name}{KNOWN}")
    name.unlink(missing_ok=True)
    try:
        name.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, name)
