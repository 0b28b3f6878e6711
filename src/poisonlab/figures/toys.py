"""Pictures of two-dimensional data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import Option, figure, style
from poisonlab.figures.captions import named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poisonlab.datasets.dataset import Dataset
    from poisonlab.poisons.files import PoisonFile

CLASS_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILLION)


@figure(
    "toy_data",
    needs=("data", "poisons"),
    title="A toy of two dimensions and its poisons",
    source="label-noise thesis, section 4.1, Fig. 4.1",
    caption="Training points of {dataset}; crosses: mislabelled points, in the colour of their label; circles: "
    "distance r from the means. Dashed: the ground truth.",
    options={"value": Option("distance of the poisons to show; default: the largest")},
)
def toy_data(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the training points of a two-dimensional toy and the poisons of the first draw, the thesis's Fig. 4.1.

    Args:
        inputs: `data`, the data set; `poisons`, the pair (poisons, places) that `poison.load` returns.

    Raises:
        InputError: the data are not two-dimensional or have no known means, or there is no poison at that value.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    dataset: Dataset = inputs["data"]
    crafted: PoisonFile = inputs["poisons"]
    if dataset.input_shape != (2,) or dataset.centres is None:
        raise InputError(f"'{dataset.name}' has points {dataset.input_shape}; this figure needs a toy of 2 dimensions")
    values = sorted(value for value in crafted.values if value is not None)
    value = options["value"]
    if value is None and values:
        value = values[-1]
    chosen = [poison for poison, own in zip(crafted.poisons, crafted.values, strict=True) if own == value]
    placed = chosen[0].append_images if chosen else None
    if placed is None:
        raise InputError(
            f"there are no placed poisons at {value}, the values are {values}; choose one of these by 'value'"
        )

    figure = Figure(figsize=(style.COLUMN, 3.2))
    figure.set_layout_engine("constrained")
    panel = figure.subplots()
    points = {label: dataset.train_images[dataset.train_labels == label] for label in range(dataset.num_classes)}
    for label, own in points.items():
        words = f"class {dataset.class_names[label]}"
        panel.plot(*own.T, ".", color=CLASS_COLOURS[label], markersize=4, label=words, gid="points")
        circle = Circle(tuple(dataset.centres[label]), value, fill=False, color=style.GREY, linewidth=0.6)
        panel.add_patch(circle)
    poison = chosen[0]
    for label in sorted(set(poison.append_labels.tolist())):
        own, words = placed[poison.append_labels == label], f"labelled {_name(dataset, label)}"
        look: dict[str, Any] = {"markersize": 7, "markeredgewidth": 1.6}
        panel.plot(*own.T, "x", color=CLASS_COLOURS[label % 4], label=words, gid="poisons", **look)
    low, high = panel.get_xlim()
    line = np.array([low, high])
    panel.plot(line, -line, color=style.BLACK, linewidth=0.8, linestyle=(0, (4, 2)), label="x · 1 = 0", gid="boundary")
    panel.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure, {
        "finding": f"Beside {len(dataset.train_labels)} training points lie {poison.budget} mislabelled ones, at "
        f"r = {value:g} from the means of their classes.",
        "dataset": named(dataset.name, options["labels"]),
    }


def _name(dataset: Dataset, label: int) -> str:
    return dataset.class_names[label] if label < dataset.num_classes else "a new class"
