"""The catalogue of figures: functions `f(inputs, options) -> (Figure, caption fields)`, each registered right above.

Reading the catalogue must be cheap, because the Snakefile wires the figures' inputs from it. So the modules of figures
import matplotlib, pandas and scipy inside their functions.
"""

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from poisonlab.errors import InputError
from poisonlab.registry import Catalogue, Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THESIS = "label-noise thesis, section 4.3"


class Option(NamedTuple):
    """An option of a figure: what it means, and what holds where nothing is said (None: see the meaning)."""

    meaning: str
    default: Any = None


@dataclass(frozen=True, kw_only=True)
class FigureKind(Entry):
    """One figure of the catalogue.

    Its needs are tables of experiments (conditions, victims, robustness, points, detection, checks), tables and arrays
    of analyses by the names that these register, specifications (the table of a multiverse), maps, data, poisons.
    Tables come as data frames; `extremes`, `example` and `idea` as the pair (arrays, metadata) that
    `storage.read_tensors` returns; `maps` as a list of arrays, one for each experiment; `data` as a data set;
    `poisons`, the first draw of a poison of the first experiment, of the condition that the option `condition` names or
    else with a sweep, as `poisons.files.load` returns it.

    Attributes:
        title: heading on the study's page, where the study gives none.
        caption: what is seen, in two or three sentences; its {fields} are filled by the function. Before it stands, in
            bold, the field `finding`: one sentence with what the data drawn show, or do not show.
        method: how it was made, and n; a smaller paragraph below, with fields, too.
        options: name → meaning and default; they are the entry's parameters, beside `labels`, which every figure takes:
            name of a condition, victim, experiment or data set → what readers see instead.
        source: what it draws again, document, section and figure; "" for a figure that any study may draw.
    """

    title: str
    caption: str
    method: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        defaults = {name: option.default for name, option in self.options.items()}
        object.__setattr__(self, "parameters", {"labels": {}, **defaults})  # the way around `frozen`


figure = Catalogue("figure", __name__, FigureKind, helpers=("experiments",))

# Options that several figures share.
CLASS_NAMES = {"class_names": Option("names of the classes 0, 1, … for the titles; default: the numbers")}
PATHS = {
    "step_size": Option("for the caption: size of one path step, images in [0, 1]"),
    "clip": Option("for the caption: whether paths stay in [0, 1]"),
}
PROVENANCE = {
    "dataset": Option("for the caption"),
    "model": Option("for the caption: the proxy's model"),
    "recipe": Option("for the caption: the proxy's recipe"),
    "scale": Option("for the caption: published, reduced, analogue or own"),
}
EXPERIMENTS = {
    "experiments": Option("1 to 3 experiments, left to right; default: as they come in the tables"),
    **CLASS_NAMES,
}
ATTACK = {
    "headlines": Option("experiment → attack, radius and column that count when nothing else is said"),
    "epsilon": Option("which radius, where the table holds several"),
    "attack": Option("which attack, where none or several are targeted from the source to the target class"),
}

# What figures read of each table; a table may have more.
COLUMNS: dict[str, tuple[str, ...]] = {
    "conditions": (
        "experiment", "condition", "axis_value", "strategy", "budget", "source_class", "target_class", "dataset",
        "model", "recipe", "n_points", "steps_low", "steps_high", "scale",
    ),
    "victims": ("experiment", "condition", "axis_value", "draw", "repeat", "fitted_share", "natural_accuracy"),
    "robustness": (
        "experiment", "condition", "axis_value", "draw", "repeat", "attack", "norm", "goal", "attack_source",
        "attack_target", "epsilon", "steps", "step_size", "random_start", "restarts", "adversarial_accuracy",
    ),
    "points": ("experiment", "condition", "axis_value", "draw", "repeat", "space", "slice", "distance", "fooled"),
    "detection": ("experiment", "condition", "axis_value", "draw", "check", "rule", "looked_at", "found", "hits"),
    "checks": (
        "experiment", "condition", "axis_value", "draw", "repeat", "zero_gradients", "random_gain", "transfer_gain",
        "square_gain", "left", "seconds", "warnings",
    ),
    "lengths": ("paths", "proxy_seed", "label", "target", "steps", "n_points", "reached"),
    "runs": ("run", "share", "n", "classifier", "guaranteed", "radius", "every_ball", "risk", "mass", "delta"),
    "degrees": ("space", "norm", "label", "density", "gamma", "quantile", "degree"),
    "scores": ("index", "degree", "colour", "fitted", "score"),
    "positions": ("kind", "x", "y", "label", "without", "large", "best", "value"),
    "histograms": ("defender", "poisons", "features", "deviation", "low", "high", "count"),
    "hypergradients": ("method", "penalty", "steps", "seconds", "points", "log_penalty"),
    "ascents": ("step", "penalty", "poisons", "hyperiteration", "loss"),
    "nearness": (
        "dataset", "source_class", "random", "medoids", "other", "random_reach", "medoids_reach", "best_reach",
    ),
    "cover": ("norm", "radius", "balls", "covered", "required", "n_points", "noise", "delta"),
    "specifications": (
        "multiverse", "combination", "claim", "statement", "part", "victims", "measured", "low", "high", "unit",
        "verdict", "fitted", "trained",
    ),
    "svm_gradients": ("kernel", "gradient", "draw", "cosine", "kink"),
    "svm_single_point": ("pair", "draw", "what", "error", "seconds"),
}  # fmt: skip


def draw(kind: str, inputs: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> "tuple[Figure, str]":
    """Draw one figure of the catalogue and write its caption: the finding in bold and what is seen; below, the method.

    Args:
        kind: a name in the catalogue, or `module:function` of one's own.
        inputs: artefact name → table or (arrays, metadata), at least those that the figure needs.
        options: see `FigureKind.options`.

    Raises:
        InputError: unknown figure or option, or an input that is missing, empty or ambiguous.
    """
    from poisonlab.figures.style import paper

    entry = figure.find(kind)
    settings = entry.settings(options or {}, "figure options")
    for artefact in entry.needs:
        found = inputs.get(artefact)
        if found is None or (isinstance(found, Sized) and len(found) == 0):
            raise InputError(
                f"figure '{kind}' needs '{artefact}', which is missing or empty; run the rule that makes it first"
            )
        columns = getattr(found, "columns", None)  # None of a data set that is no table, too
        present = [] if columns is None else list(columns)
        if absent := [column for column in COLUMNS.get(artefact, ()) if column not in present]:
            raise InputError(f"'{artefact}' lacks the columns {absent}, it has {present}; make it again")
    with paper():
        drawn, fields = entry.function(inputs, settings)
    finding = f"**{fields['finding']}**" if "finding" in fields else ""
    seen, method = (part.format(**fields).strip() for part in (entry.caption, entry.method))
    return drawn, "\n\n".join(filter(None, [f"{finding} {seen}".strip(), method]))


def save(drawn: "Figure", svg_path: str | Path, png_path: str | Path) -> None:
    """Write a figure as SVG and as PNG with 300 dpi; the same figure gives the same bytes.

    Dates and program versions are left out of the files, and text is written as outlines.
    """
    from poisonlab.figures.style import DPI, paper
    from poisonlab.results.storage import atomic

    with paper():
        # An SVG's own unit is 1/72 inch; without the dpi its images would be resampled to that.
        with atomic(svg_path) as temporary:
            drawn.savefig(temporary, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
        with atomic(png_path) as temporary:
            drawn.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
