"""Several figures drawn in one process: those whose inputs, options or code changed since they were drawn last."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from poisonlab.errors import InputError
from poisonlab.figures import draw, save

ENDINGS = (".svg", ".png", ".txt")  # the last is the caption


class Specification(TypedDict):
    """One figure to draw.

    Attributes:
        kind: name in the catalogue, or `module:function` of one's own.
        files: need → the files that it is read from.
        note: what the method of the caption says beside the figure's own words, or "".
        version: of the code that draws it, see `code_version`.
        target: its files without their `ENDINGS`. `.<name>.drawn` beside them records what they were drawn from.
    """

    kind: str
    files: Mapping[str, Sequence[str]]
    options: Mapping[str, Any]
    note: str
    version: str
    target: str


def draw_all(specifications: Sequence[Specification], progress: Callable[[str], None]) -> list[str]:
    """Draw every figure whose files are missing, changed, or drawn from something else; leave the others untouched.

    The content of files counts, their times do not.

    Args:
        progress: takes a line for each figure.

    Returns:
        The targets that were drawn.

    Raises:
        InputError: some figures cannot be drawn; all the others are.
    """
    digest = functools.cache(_digest)  # tables that several figures show are read once
    drawn, failed = [], {}
    for number, one in enumerate(specifications, 1):
        target = Path(one["target"])
        inputs = {need: [digest(Path(file)) for file in files] for need, files in one["files"].items()}
        # Not sorted: the order of the lines in a figure's options counts.
        made_from = json.dumps([one["kind"], one["options"], one["note"], one["version"], inputs])
        made_from = hashlib.sha256(made_from.encode()).hexdigest()
        record = _record_file(target)
        if record.is_file() and record.read_text() == _record(made_from, target):
            continue
        progress(f"{target.name}, {number} of {len(specifications)}")
        try:
            _draw(one, target)
        except InputError as error:
            failed[target.name] = error
        else:
            record.write_text(_record(made_from, target))
            drawn.append(one["target"])
    if failed:
        raise InputError(
            f"{len(failed)} of {len(specifications)} figures cannot be drawn, the others are: "
            + "; ".join(f"{name}: {error}" for name, error in failed.items())
        )
    return drawn


def summarise(specifications: Sequence[Specification], file: str | Path) -> None:
    """Write a file that changes whenever one of these figures was drawn anew.

    Pages depend on it and not on every figure.
    """
    from poisonlab.results.storage import atomic

    records = {Path(one["target"]).name: _digest(_record_file(Path(one["target"]))) for one in specifications}
    with atomic(Path(file)) as temporary:
        temporary.write_text(json.dumps(records, indent=1) + "\n")


def _record_file(target: Path) -> Path:
    return target.with_name(f".{target.name}.drawn")


def _digest(file: Path) -> str:
    """Hash of a file's content, "" where there is none."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _record(made_from: str, target: Path) -> str:
    """What a figure was drawn from, and what its files hold."""
    return json.dumps({"from": made_from} | {ending: _digest(_file(target, ending)) for ending in ENDINGS}, indent=1)


def _file(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


def _draw(one: Specification, target: Path) -> None:
    from poisonlab.results.storage import atomic

    inputs = {need: _read(need, files) for need, files in one["files"].items()}
    drawn, caption = draw(one["kind"], inputs, one["options"])
    svg, png, txt = (_file(target, ending) for ending in ENDINGS)
    save(drawn, svg, png)
    with atomic(txt) as temporary:
        # To the method, the second paragraph, if there is one.
        between = " " if "\n\n" in caption else "\n\n"
        temporary.write_text((f"{caption}{between}{one['note']}" if one["note"] else caption) + "\n")


def _read(need: str, files: Sequence[str]) -> Any:
    """Read what a figure needs, as `FigureKind` describes it."""
    import pandas as pd

    from poisonlab.datasets.dataset import Dataset
    from poisonlab.poisons import files as poison_files
    from poisonlab.results.storage import read_table, read_tensors

    if need in ("extremes", "example", "idea"):
        return read_tensors(files[0])
    if need == "maps":
        return [read_tensors(file)[0] for file in files]
    if need in ("data", "poisons"):
        return (Dataset.load if need == "data" else poison_files.load)(files[0])
    return pd.concat(map(read_table, files), ignore_index=True)
