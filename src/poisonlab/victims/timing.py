"""How long victims were trained, beside their files: it differs from run to run, and so is no part of them."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from poisonlab.results import storage

SECONDS_BETWEEN_SAVES = 5.0


class Stopwatch:
    """The seconds of a chunk's victims, in one small file.

    Args:
        file: where they are kept, None to keep none; wanted: victim's key → its identity.
    """

    def __init__(self, file: str | Path | None, wanted: Mapping[str, str]) -> None:
        self.file = None if file is None else Path(file)
        self.wanted, self.saved = wanted, time.monotonic()
        known = _read(self.file) if self.file else {}
        self.known = {key: entry for key, entry in known.items() if wanted.get(key) == entry[0]}

    def note(self, key: str, seconds: float) -> None:
        """Take a victim's seconds; they are written every few seconds."""
        self.known[key] = (self.wanted[key], seconds)
        if time.monotonic() - self.saved >= SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Write what is known."""
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with storage.atomic(self.file) as temporary:
                Path(temporary).write_text(json.dumps(self.known, sort_keys=True))
        self.saved = time.monotonic()


def _read(file: Path) -> dict[str, tuple[str, float]]:
    try:
        return {key: (str(own), float(seconds)) for key, (own, seconds) in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def seconds_of(victims: str | Path, folder: str | Path) -> dict[str, float]:
    """Victim's key → its seconds of training, of a file of victims, as far as a file below `folder` knows them."""
    rows = json.loads(storage.read_tensors(victims)[1].get("victims", "{}"))
    known = (entry for file in _files(folder) for entry in _read(file).items())
    return {key: seconds for key, (identity, seconds) in known if key in rows and rows[key]["identity"] == identity}


def seconds_below(folder: str | Path) -> dict[str, float]:
    """Victim's key → its seconds of training, of all victims that a file below `folder` knows."""
    return {key: seconds for file in _files(folder) for key, (_, seconds) in _read(file).items()}


def _files(folder: str | Path) -> list[Path]:
    return sorted(Path(folder).rglob("*.json"))
