"""Needs: artefacts that a strategy or an analysis declares by name, and that the pipeline makes and hands over.

An entry says in which section of the configuration the artefact is named, where its files come from, and, as its
function, how they are read. Its docstring is what it promises.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poisonlab.registry import Catalogue, Entry

Files = Callable[[Any, str], list[str]]  # (plan, name in the section) → files


@dataclass(frozen=True, kw_only=True)
class Need(Entry):
    """A registered need; its function reads the files.

    Attributes:
        section: of the configuration, in which the artefact is named: "proxies", "paths", "buckets" or "analyses".
        files: from the plan and the name there to the files.
        table: of an analysis, that it must give.
    """

    section: str
    files: Files
    table: str = ""


need: Catalogue[Need] = Catalogue("need", "poisonlab.poisons.needs", Need)


@need("buckets", section="buckets", files=lambda plan, name: [plan.bucket_file(name)], source="thesis, section 4.3.3")
def buckets(files: Sequence[str]) -> Any:
    """Points of one class by the length of their adversarial path: a table with the columns index, steps, bucket."""
    from poisonlab.results.storage import read_table

    return read_table(files[0], ["index", "steps", "bucket"])


@need("paths", section="paths", files=lambda plan, name: [plan.path_file(name)], source="thesis, Algorithm 2")
def paths(files: Sequence[str]) -> Any:
    """Adversarial paths of all training points, a table for each seed of the proxy: see `attacks.paths.trace`."""
    from poisonlab.results.storage import read_table

    table = read_table(files[0], ["proxy_seed", "index", "steps"])
    return [own.drop(columns="proxy_seed").reset_index(drop=True) for _, own in table.groupby("proxy_seed")]


@need("features", section="proxies", files=lambda plan, name: [plan.answers_file(name)])
def features(files: Sequence[str]) -> Any:
    """What the last layer of the first proxy gets to see of every training point, [n, features] float32."""
    from poisonlab.results.storage import read_tensors

    return read_tensors(files[0], ["features"])[0]["features"]


@need("logits", section="proxies", files=lambda plan, name: [plan.answers_file(name)])
def logits(files: Sequence[str]) -> Any:
    """Logits of every training point by the first proxy, [n, classes] float32."""
    from poisonlab.results.storage import read_tensors

    return read_tensors(files[0], ["logits"])[0]["logits"]


@need("models", section="proxies", files=lambda plan, name: [plan.proxy_file(name)])
def models(files: Sequence[str]) -> Any:
    """The proxies themselves, at every age at which they are kept: a list of `victims.proxy.Proxy`, by seed and age."""
    from poisonlab.victims.proxies import Proxy

    return Proxy.load(files[0])


@need("label_issues", section="analyses", table="label_issues", files=lambda plan, name: [plan.analysis_table(name)])
def label_issues(files: Sequence[str]) -> Any:
    """cleanlab's verdict on every training point, out of fold: see `analyses.label_issues`."""
    from poisonlab.results.storage import read_table

    return read_table(files[0])


@need(
    "colours",
    section="analyses",
    table="scores",
    files=lambda plan, name: [plan.analysis_table(name)],
    source="thesis, section 6.2",
)
def colours(files: Sequence[str]) -> Any:
    """Scores of the colouring trick: a table with the columns net, index, degree, colour, fitted, score; see
    `analyses.colouring`.
    """
    from poisonlab.results.storage import read_table

    return read_table(files[0])


def read_needs(counts: Mapping[str, int], files: Sequence[str]) -> dict[str, Any]:
    """Read artefacts by name.

    Args:
        counts: need → how many of the files are its own; files: of all of them, in this order.
    """
    found, left = {}, list(files)
    for name, count in counts.items():
        own, left = left[:count], left[count:]
        found[name] = need.find(name).function(own)
    return found
