"""What a draw changes of its data set: nothing, a toy's training set, or the division into training and validation."""

from collections.abc import Mapping
from typing import Any

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.splits import split
from poisonlab.datasets.toys import redrawn


def of_draw(dataset: Dataset, per_draw: Mapping[str, Any] | None, draw: int) -> Dataset:
    """Return the data set of a draw; its test set is the same in every draw.

    Args:
        per_draw: None leaves the data set as it is; `toy` holds all options of a toy, whose training set is drawn anew
            (draw 0 keeps it); `split` is the share of the training set that validates, and the draw the division's
            number.
    """
    if per_draw is None:
        return dataset
    return split(dataset, draw, per_draw["split"]) if "split" in per_draw else redrawn(dataset, per_draw["toy"], draw)
