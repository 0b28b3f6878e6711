"""One look for every figure: column widths, colours and fonts of a paper, the same on every machine.

Figures are built on `matplotlib.figure.Figure` without pyplot: no window, no global state, Agg for the PNG.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

COLUMN = 3.4  # inches, one column of a two-column page
PAGE = 7.0  # inches, the full width of the page
DPI = 300

# Okabe and Ito's palette: told apart by people with any common colour blindness.
BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREY = "#666666"

SMALL = 7.0  # points: tick labels and legends
TINY = 6.0  # points: counts

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so that no machine substitutes another
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 2.6,  # a dashed key shows two dashes
    "hatch.linewidth": 0.5,
    "figure.facecolor": "white",
    "savefig.dpi": DPI,
    "svg.fonttype": "path",  # outlines: the reader's browser need not have the font
    "svg.hashsalt": "poisonlab",  # element names that do not change from run to run
    "image.composite_image": False,
}


@contextlib.contextmanager
def paper() -> Iterator[None]:
    """Draw or save in this style, whatever the user's own matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield
