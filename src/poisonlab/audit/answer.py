"""What an audit found: numbers with intervals from its tables, and three sentences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from poisonlab.audit.study import ATTACK, WAYS, Choices, Facts
from poisonlab.datasets import tables
from poisonlab.datasets.dataset import Dataset
from poisonlab.poisons import files
from poisonlab.results.query import Headline, Query
from poisonlab.results.storage import read_table
from poisonlab.statistics import Estimate, mean_interval, paired_difference

NEARLY_ALL = 0.9  # of the flips: found by whoever looks at so many labels
NARROW = 0.05  # half of an interval that is narrow enough
ADVERSARIAL, NATURAL = "adversarial_accuracy", "natural_accuracy"
NUMBERS = {3: "three", 4: "four"}  # of defences, in words
SELECTIONS = {"random": "random points", "medoids": "medoids"}


def named(entry: Estimate) -> str:
    """A share with its interval: "0.61 [0.52, 0.70]"; "1.00 [all 12 alike]" where no spread was seen."""
    if math.isnan(entry.low) or math.isnan(entry.high):
        return f"{entry.value:.2f}"
    if math.isclose(entry.low, entry.high, abs_tol=1e-9):
        return f"{entry.value:.2f} [all {entry.n_draws * entry.n_repeats - entry.n_missing} alike]"
    return f"{entry.value:.2f} [{entry.low:.2f}, {entry.high:.2f}]"


def class_named(name: str) -> str:
    """A class in a sentence: "malignant", "class 7"."""
    return f"class {name}" if name.isdecimal() else name


@dataclass(frozen=True)
class Point:
    """A training point whose label is flipped.

    Attributes:
        index: its place in the user's training data, of a table the row of its file.
        steps: of its adversarial path, how far it lies from the boundary of a clean net; None where that is not known.
        image: [height, width] or [height, width, channels] uint8; None for a vector.
        values: column → value, of a table.
    """

    index: int
    steps: float | None
    image: np.ndarray | None
    values: Mapping[str, str]


class Answer:
    """The tables of an audit, read once."""

    def __init__(self, folder: Path, study: str, facts: Facts, choices: Choices) -> None:
        self.folder, self.study, self.facts, self.choices = folder, study, facts, choices
        self.harm, self.defences = self._query("harm"), self._query("defences")
        self.detection = read_table(folder / "tables" / study / "defences" / "detection.parquet")
        self.dataset = Dataset.load(folder / "data" / f"{study}.safetensors")

    def _query(self, experiment: str) -> Query:
        place = self.folder / "tables" / self.study / experiment
        found = {name: read_table(place / f"{name}.parquet") for name in ("conditions", "victims", "robustness")}
        return Query(f"{self.study}/{experiment}", found, Headline(ATTACK, self.choices.epsilon))

    @property
    def source(self) -> str:
        return class_named(self.facts.classes[self.choices.pair[0]])

    @property
    def tested(self) -> str:
        """The test points of the source class."""
        name = self.facts.classes[self.choices.pair[0]]
        return f"test points of {self.source}" if name.isdecimal() else f"{name} test points"

    @property
    def target(self) -> str:
        return class_named(self.facts.classes[self.choices.pair[1]])

    # ------------------------------------------------------------------------------------------------------- numbers

    def grid(self, query: Query, condition: str, column: str = ADVERSARIAL, **how: Any) -> np.ndarray:
        """[draws, repeats] of a condition."""
        return query.select(condition, column, **how)[0].grid

    def harmed(
        self, selection: str, budget: int | None = None, epsilon: float | None = None, column: str = ADVERSARIAL
    ) -> Estimate:
        """What is left of a column where so many labels are flipped; `clean` for none."""
        value = None if selection == "clean" else (budget or self.choices.budget)
        epsilon = epsilon if column == ADVERSARIAL else None
        return mean_interval(self.grid(self.harm, selection, column, value=value, epsilon=epsilon), bounds=(0.0, 1.0))

    def defended(self, selection: str, way: str, column: str = ADVERSARIAL) -> Estimate:
        """What is left with a defence; `plain` for none."""
        return mean_interval(self.grid(self.defences, f"{selection}@{way}", column), bounds=(0.0, 1.0))

    def widest(self) -> float:
        """Half of the widest interval among what the verdict rests on."""
        found = [self.harmed(selection) for selection in ("clean", *SELECTIONS)]
        return max((one.high - one.low) / 2 if math.isfinite(one.high - one.low) else 1.0 for one in found)

    def buckets(self) -> list[tuple[str, Estimate]]:
        """Adversarial accuracy by path length of the flips, nearest to the boundary first; none of a small class."""
        if not (self.folder / "tables" / self.study / "buckets").is_dir():
            return []
        cells = self._query("buckets").select("bucket")
        parts = {0: "nearest", len(cells) - 1: "farthest"}
        return [
            (parts.get(place, f"part {place + 1} of {len(cells)}"), mean_interval(one.grid, bounds=(0.0, 1.0)))
            for place, one in enumerate(cells)
        ]

    @property
    def worst(self) -> str:
        """The selection that leaves the least: of the two that are always made."""
        return min(SELECTIONS, key=lambda selection: self.harmed(selection).value)

    def found(self, selection: str, check: str, rule: str = "budget") -> Estimate:
        """Share of the flips among the labels that a check finds the most suspicious."""
        rows = self.detection
        own = rows[(rows["condition"] == f"{selection}@plain") & (rows["check"] == check) & (rows["rule"] == rule)]
        return mean_interval(own["found"].to_numpy(dtype=float)[:, None], bounds=(0.0, 1.0))

    def flagged(self, selection: str) -> str:
        """What cleanlab calls an issue: hits, and false alarms."""
        rows = self.detection
        own = rows[(rows["condition"] == f"{selection}@plain") & (rows["rule"] == "flagged")]
        hits, looked = own["hits"].mean(), own["looked_at"].mean()
        return f"{hits:.1f} of {self.choices.budget} flips, and {looked - hits:.1f} false alarms"

    def looked_at(self, selection: str, check: str, share: float = NEARLY_ALL) -> int | None:
        """The least number of labels to look at, of those tried, until so many of the flips are found in the mean."""
        rows = self.detection
        own = rows[(rows["condition"] == f"{selection}@plain") & (rows["check"] == check)]
        by = own[own["rule"] != "flagged"].groupby("looked_at")["found"].mean()
        enough = by.index[by >= share]
        return int(min(enough)) if len(enough) else None

    def best_way(self) -> str:
        """The defence that keeps the most under the worst selection."""
        return max(self.choices.ways, key=lambda way: self.defended(self.worst, way).value)

    # -------------------------------------------------------------------------------------------------------- points

    def points(self) -> list[Point]:
        """The points that the worst selection flips, of its first draw."""
        poison = f"{self.worst}_budgets"
        crafted = files.load(self.folder / "poisons" / self.study / poison / "draw-0.safetensors")
        paths = read_table(self.folder / "paths" / f"{self.study}.parquet")
        steps = paths[paths["proxy_seed"] == paths["proxy_seed"].min()].set_index("index")["steps"]
        data = self.dataset
        found = []
        for position in crafted.poison(float(self.choices.budget)).relabel_index:
            image = data.train_images[position]
            picture = None
            if image.ndim == 3:
                picture = image if image.dtype == np.uint8 else np.round(255 * image.clip(0, 1)).astype(np.uint8)
                picture = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
            own = steps.get(position)
            known = own is not None and np.isfinite(own)
            found.append(
                Point(int(data.train_index[position]), float(own) if known else None, picture, row_of(data, image))
            )
        return found

    # ----------------------------------------------------------------------------------------------------- sentences

    def sentences(self) -> list[str]:
        """Three sentences: what it does, whether it would be found, what helps."""
        worst, choices = self.worst, self.choices
        clean, hit, random = self.harmed("clean"), self.harmed(worst), self.harmed("random")
        kept = self.harmed(worst, column=NATURAL)
        share = 100 * choices.budget / self.facts.n_train
        how = "chosen as medoids" if worst == "medoids" else "chosen at random"
        beside = f"; random ones leave {named(random)}" if worst != "random" else ""
        # These very victims chose the worst of two selections and the best of several ways: Bonferroni's intervals.
        of_two, of_ways = 1 - 0.05 / len(SELECTIONS), 1 - 0.05 / len(choices.ways)
        harmed = self.grid(self.harm, worst, value=choices.budget)
        change = paired_difference(harmed, self.grid(self.harm, "clean"), of_two)
        certain = "" if change.high < 0 else ", a fall that this size does not show for certain"
        harm = (
            f"{choices.budget} wrong labels ({share:.2g} % of the training data, {self.source} called {self.target}, "
            f"{how}) leave {named(hit)} of the {self.tested} right under attack, where clean labels "
            f"leave {named(clean)}{certain}{beside}; natural accuracy is {named(kept)} then, "
            f"{named(self.harmed('clean', column=NATURAL))} before."
        )
        first = self.found(worst, "cleanlab")
        needed = {check: self.looked_at(worst, check) for check in ("cleanlab", "neighbours")}
        easier = min(needed, key=lambda check: needed[check] or math.inf)
        words = "cleanlab" if easier == "cleanlab" else "a check of the nearest neighbours"
        cost = (
            f"; nine in ten are among the first {needed[easier]} that {words} lists"
            if needed[easier]
            else "; neither check lists nine in ten of them among its first thousand"
        )
        find = (
            f"You would find {100 * first.value:.0f} % of them among the first {choices.budget} labels that cleanlab "
            f"lists{'' if first.value >= NEARLY_ALL else cost}."
        )
        way = self.best_way()
        undefended, defended = self.defended(worst, "plain"), self.defended(worst, way)
        kept_by, without = (self.grid(self.defences, f"{worst}@{one}") for one in (way, "plain"))
        gain = paired_difference(kept_by, without, of_ways)
        helps = (
            f"Of {NUMBERS[len(choices.ways)]} defences {WAYS[way]} keeps the most, {named(defended)} where "
            f"{named(undefended)} is left without, at a natural accuracy of {named(self.defended(worst, way, NATURAL))}"
            f"{'' if gain.low > 0 else '; its gain is not certain at this size'}."
        )
        return [harm, find, helps]

    def size(self) -> str:
        """n in words."""
        draws, repeats = self.grid(self.harm, "random", value=self.choices.budget).shape
        return f"{draws} draws of the poisons × {repeats} trainings each"


def row_of(data: Dataset, vector: np.ndarray) -> dict[str, str]:
    """A row of a table as its user wrote it; nothing for other data."""
    if data.columns is None:
        return {}
    row = tables.rows(data, vector[None]).iloc[0]
    return {str(name): f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in row.items()}


def exposed(pairs: Any, epsilons: Sequence[float]) -> list[dict[str, Any]]:
    """Pairs of classes by what a targeted attack on clean nets leaves, the most exposed first.

    Args:
        pairs: table of the analysis `class_pairs`.

    Returns:
        `source`, `target`, `least`, the share at the reference radius, and the radius.
    """
    radius = reference_radius(pairs, epsilons)
    own = pairs[np.isclose(pairs["epsilon"], radius)]
    means = own.groupby(["source", "target"])["adversarial_accuracy"].mean().sort_values(kind="stable")
    return [{"source": int(s), "target": int(t), "left": float(left)} for (s, t), left in means.items()]


def reference_radius(pairs: Any, epsilons: Sequence[float]) -> float:
    """The radius at which clean nets withstand about nine of ten attacks on their most exposed pair."""
    least = {
        epsilon: pairs[np.isclose(pairs["epsilon"], epsilon)]
        .groupby(["source", "target"])["adversarial_accuracy"]
        .mean()
        .min()
        for epsilon in epsilons
    }
    return min(epsilons, key=lambda epsilon: abs(least[epsilon] - 0.9))
