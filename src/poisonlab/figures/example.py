"""An adversarial example beside the image that it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import CLASS_NAMES, PROVENANCE, figure, style
from poisonlab.figures.captions import percent, provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figure(
    "adversarial_example",
    needs=("example",),
    title="An adversarial example",
    source="label-noise thesis, section 2.3, Fig. 2.1",
    caption="A test image (left), the same image attacked (right), and their difference (middle).",
    method="Of all images of the class that the net is sure of, and all targets, the one with which targeted PGD of "
    "40 steps gets furthest. {provenance}",
    options={**PROVENANCE, **CLASS_NAMES},
)
def adversarial_example(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw a test image, its adversarial example and their difference, the thesis's Fig. 2.1.

    Args:
        inputs: `example`, the pair (arrays, metadata) of the rule attack_proxies.

    Raises:
        InputError: no example was found within the radius.
    """
    from matplotlib.figure import Figure

    arrays, _ = inputs["example"]
    images, probabilities, labels = arrays["images"], arrays["probabilities"], arrays["labels"]
    if labels[0] == labels[1]:
        raise InputError(f"no adversarial example of class {labels[0]} was found; raise paths.*.example.epsilon")
    names = options["class_names"] or [str(label) for label in range(probabilities.shape[1])]
    difference = images[1] - images[0]
    figure = Figure(figsize=(style.COLUMN, 1.3))
    figure.set_layout_engine("constrained")
    left, middle, right = figure.subplots(1, 3)
    for panel, image, row, label in ((left, images[0], 0, labels[0]), (right, images[1], 1, labels[1])):
        panel.imshow(_shown(image), cmap="gray", vmin=0, vmax=1, gid="image")
        panel.set_title(
            f"{names[label]}: {percent(float(probabilities[row, label]), 1)}", size=style.SMALL, loc="center"
        )
    largest = float(np.abs(difference).max())
    middle.imshow(_shown(difference / largest / 2 + 0.5), cmap="gray", vmin=0, vmax=1, gid="difference")
    middle.set_title(f"difference, ±{largest:.2g}", size=style.SMALL, loc="center", weight="normal")
    for panel in (left, middle, right):
        panel.set_axis_off()
    before, after = (percent(float(probabilities[row, labels[row]]), 1) for row in (0, 1))
    return figure, {
        "finding": f"A clean network calls an image {names[labels[0]]} with {before} confidence, and "
        f"{names[labels[1]]} with {after} once its pixels move by at most {largest:.3g}.",
        "provenance": provenance(options, options["labels"]),
    }


def _shown(image: np.ndarray) -> np.ndarray:
    """[height, width] of a grey image, [height, width, 3] of a colour one."""
    return image[0] if len(image) == 1 else image.transpose(1, 2, 0)
