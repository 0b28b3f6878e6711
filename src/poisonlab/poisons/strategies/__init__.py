"""The catalogue of poisoning strategies.

A strategy is one function, Request → Poison, with a registration: ``@strategy(...)`` says what it needs, which
parameters it has and where it comes from. Any one of its parameters may be swept. `tests/contract` picks every
registered strategy up by itself.

A strategy of your own lives in any importable module; name it ``module:function`` in the configuration
(`docs/own_strategy.md`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.poisons.flips import Flip
from poisonlab.poisons.poison import Poison
from poisonlab.registry import Catalogue, Entry

if TYPE_CHECKING:
    from poisonlab.results.storage import Workspace


@dataclass(frozen=True, kw_only=True)
class Strategy(Entry):
    """A registered strategy.

    Attributes:
        deterministic: the same poison for every draw.
        leaks: sees the test set, as a control; from every other strategy it is hidden.
        resources: what a job of it asks for beyond the defaults, e.g. {"gpu": 1}.
        alone: crafting takes so long that each draw has a job of its own; all others of a data set are crafted
            together.
    """

    deterministic: bool = False
    leaks: bool = False
    resources: Mapping[str, int] = field(default_factory=dict)
    alone: bool = False


strategy: Catalogue[Strategy] = Catalogue("strategy", "poisonlab.poisons.strategies", Strategy)


def _silent(line: str) -> None: ...


@dataclass(frozen=True)
class Request:
    """Everything a strategy gets to see. The test set is hidden unless the strategy declares that it leaks.

    Attributes:
        needs: the artefacts that the registration declares, by name: see `poisons.needs`.
        parameters: all of them, defaults and the value of a sweep filled in.
        generator: the only source of chance.
        draw: its number, for artefacts that come in several copies.
        taken: positions that an earlier pair of classes of the same poison has edited.
        device: where the strategy may compute: auto, cpu or cuda.
        workspace: a place for checkpoints that survives a kill and is cleared when the poison is crafted; None outside
            of the pipeline.
        progress: writes a line to the job's log.
    """

    dataset: Dataset
    flip: Flip
    needs: Mapping[str, Any]
    parameters: Mapping[str, Any]
    generator: np.random.Generator
    draw: int = 0
    taken: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    device: str = "auto"
    workspace: "Workspace | None" = None
    progress: Callable[[str], None] = _silent

    def pool(self) -> np.ndarray:
        """Positions of the training points of the source class that are not taken, [pool] int64.

        Raises:
            InputError: the budget exceeds them.
        """
        pool = np.flatnonzero(self.dataset.train_labels == self.flip.source)
        pool = pool[~np.isin(pool, self.taken)] if len(self.taken) else pool
        check_budget(self.flip.budget, pool, f"class {self.flip.source} in '{self.dataset.name}'")
        return pool

    def relabel(self, index: np.ndarray) -> Poison:
        """The poison that gives these training points, [m] positions, the target label."""
        labels = np.full(len(index), self.flip.target, dtype=np.int64)
        return Poison(self.dataset.num_classes, relabel_index=index.astype(np.int64), relabel_label=labels)


def check_budget(budget: int, pool: np.ndarray, what: str) -> None:
    """Refuse a budget that exceeds the pool; `what` names it.

    Raises:
        InputError: it does.
    """
    if budget > len(pool):
        raise InputError(
            f"poison budget {budget} exceeds the {len(pool)} points of {what}; lower the poison's budget to at most "
            f"{len(pool)}"
        )


def choose(pool: np.ndarray, budget: int, generator: np.random.Generator, what: str) -> np.ndarray:
    """Draw `budget` different positions from `pool`, sorted.

    Raises:
        InputError: the budget exceeds the pool; `what` names the pool.
    """
    check_budget(budget, pool, what)
    return np.sort(generator.choice(pool, size=budget, replace=False))
