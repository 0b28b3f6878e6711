"""Quantifiers: of which victims a claim speaks: of their mean, of every one, or of a percentile."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.statistics import Estimate, mean_interval, percentile_interval, share_interval

_EITHER_OR = {"memorised"}  # columns of zeros and ones
# Columns whose values lie in [0, 1].
_SHARES = {"adversarial_accuracy", "natural_accuracy", "still_correct", "fitted_share"}
BOUNDED = _EITHER_OR | _SHARES


@dataclass(frozen=True)
class Quantifier:
    """What is said of a grid of victims.

    Attributes:
        kind: "mean", "every victim" or "percentile".
        percent: of a percentile, in (0, 100).
    """

    kind: str = "mean"
    percent: float = 0.0

    @classmethod
    def read(cls, entry: Any, where: str) -> "Quantifier":
        """Read "mean", "every victim" or {percentile: 5}.

        Raises:
            InputError: it is none of these.
        """
        if isinstance(entry, dict) and list(entry) == ["percentile"]:
            percent = entry["percentile"]
            if isinstance(percent, (int, float)) and 0 < percent < 100:
                return cls("percentile", float(percent))
        elif entry in ("mean", "every victim"):
            return cls(entry)
        raise InputError(
            f"{where}.quantifier is {entry!r}, allowed are mean, every victim and "
            f"{{percentile: above 0 and below 100}}; change it"
        )

    @property
    def noun(self) -> str:
        """What is compared: "mean", "5th percentile"."""
        if self.kind != "percentile":
            return self.kind
        number = f"{self.percent:g}"
        teen = number[-2:] in ("11", "12", "13")
        return f"{number}{'th' if teen else {'1': 'st', '2': 'nd', '3': 'rd'}.get(number[-1], 'th')} percentile"

    def estimate(self, grid: np.ndarray, column: str, confidence: float) -> Estimate:
        """Mean or percentile of a grid [draws, repeats], with its interval; that of a column of zeros and ones is
        `share_interval`.
        """
        bounds = (0.0, 1.0) if column in _SHARES else None
        if self.kind == "percentile":
            return percentile_interval(grid, self.percent / 100, confidence, bounds)
        return share_interval(grid, confidence) if column in _EITHER_OR else mean_interval(grid, confidence, bounds)

    def interval(self, grid: np.ndarray, column: str) -> str:
        """What the interval of `estimate` is, in words that "against" may follow."""
        if self.kind == "percentile":
            return f"{self.noun} of the victims with the interval of its order statistics,"
        if column in _EITHER_OR:
            return "the wider of t interval over draws and repeats and exact interval over draws,"
        return "t interval over repeats" if len(grid) == 1 else "t interval over draws and repeats"


MEAN = Quantifier()
