"""What a draw changes of its data set: nothing, a toy's training set, or the division into training and validation."""

from collections.abc import Mapping
from typing import Any

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.splits import sample, split
from poisonlab.datasets.toys import redrawn


def of_draw(dataset: Dataset, per_draw: Mapping[str, Any] | None, draw: int) -> Dataset:
    """Return the data set of a draw; its test set is the same in every draw.

    Args:
        per_draw: None leaves the data set as it is; `toy` holds all options of a toy, whose training set is drawn anew
            (draw 0 keeps it); `split` is the share of the training set that validates, or {share, points} for a share
            of so many random points, and the draw the division's number.
    """
    if per_draw is None:
        return dataset
    if "toy" in per_draw:
        return redrawn(dataset, per_draw["toy"], draw)
    own = per_draw["split"] if isinstance(per_draw["split"], Mapping) else {"share": per_draw["split"]}
    return split(sample(dataset, draw, own["points"]) if "points" in own else dataset, draw, own["share"])
