"""Analyses: of a data set, a proxy or a simulation, without victims. Each gives one table, and arrays where it has any.

An analysis is one function, Subject → Findings, with a registration. One of your own is named ``module:function``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from poisonlab.registry import Catalogue, Entry


@dataclass(frozen=True)
class Subject:
    """What an analysis gets to see.

    Attributes:
        dataset: the data set, None where the analysis names none.
        model, recipe, precision: of the proxy that the analysis names, empty without one.
        needs: the artefacts that the registration declares, by name; names: what the configuration calls them.
        parameters: all of them, defaults filled in.
        device: auto, cpu or cuda. progress: writes a line to the job's log.
    """

    dataset: Any
    model: Any
    recipe: Mapping[str, Any]
    precision: str
    needs: Mapping[str, Any]
    names: Mapping[str, str]
    parameters: Mapping[str, Any]
    device: str
    progress: Callable[[str], None]


@dataclass(frozen=True)
class Findings:
    """A table, and named arrays with their metadata."""

    table: Any
    arrays: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Analysis(Entry):
    """A registered analysis.

    Attributes:
        table: what figures and claims call its table; arrays: the same of its arrays, "" without them.
        of: what the configuration must name: "dataset", "proxy" (which gives model, recipe and data set), or "" for
            neither.
        resources: what its job asks for beyond the defaults; "gpu" where it trains or attacks.
    """

    table: str
    arrays: str = ""
    of: str = "dataset"
    resources: Mapping[str, int] = field(default_factory=dict)


analysis: Catalogue[Analysis] = Catalogue("analysis", "poisonlab.analyses.catalogue", Analysis)


def analyse(
    settings: Mapping[str, Any], files: Sequence[str], device: str, progress: Callable[[str], None]
) -> Findings:
    """Read what an analysis needs and run it.

    Args:
        settings: `analysis`, `parameters`, `needs` (need → number of files), `names` (need → its name), `of`, and for
            an analysis of a proxy `training` (model, recipe, precision).
        files: the data set's, where it is of one, then those of the needs.
    """
    from poisonlab.datasets.dataset import Dataset
    from poisonlab.poisons.needs import read_needs

    left = list(files)
    dataset = Dataset.load(left.pop(0)) if settings["of"] else None
    training = settings.get("training", {"model": None, "recipe": {}, "precision": "float32"})
    subject = Subject(
        dataset,
        training["model"],
        training["recipe"],
        training["precision"],
        read_needs(settings["needs"], left),
        settings["names"],
        settings["parameters"],
        device,
        progress,
    )
    return analysis.find(settings["analysis"]).function(subject)
