"""One selection and a number."""

import math

import numpy as np

from poisonlab.claims.evidence import CONFIDENCE, Data, Evidence, Side
from poisonlab.claims.relations import ESTIMATED, MORE, Settings, relation
from poisonlab.errors import InputError
from poisonlab.statistics import Estimate


@relation(
    "near",
    parameters={"value": 0.0, "margin": 0.0},
    required=("value", "margin"),
    selectors=("of",),
    quantifiers=ESTIMATED,
)
def near(data: Data, settings: Settings) -> Evidence:
    """Within a margin of a number."""
    value, margin = settings["value"], settings["margin"]
    return _within(data, value - margin, value + margin, f"{value:g} ± {margin:g}", open_ends=True)


@relation(
    "between", parameters={"low": 0.0, "high": 0.0}, required=("low", "high"), selectors=("of",), quantifiers=ESTIMATED
)
def between(data: Data, settings: Settings) -> Evidence:
    """In a range, ends included."""
    low, high = settings["low"], settings["high"]
    return _within(data, low, high, f"{low:g} … {high:g}", open_ends=False)


def _within(data: Data, low: float, high: float, words: str, open_ends: bool) -> Evidence:
    if len(data.of) != 1:
        raise InputError(
            f"this relation is about 1 value, not about {len(data.of)}; choose by `value` or join by `over`"
        )
    (one,) = data.of
    shown, wide = (data.quantifier.estimate(one.grid, one.column, confidence) for confidence in (CONFIDENCE, data.wide))
    inside = low < wide.low and wide.high < high if open_ends else low <= wide.low and wide.high <= high
    return Evidence.of(
        shown,
        f"{data.quantifier.interval(one.grid, one.column)} against {words}",
        Side(inside),
        Side(wide.high < low or wide.low > high),
        MORE,
    )


@relation(
    "above",
    parameters={"value": 0.0},
    required=("value",),
    selectors=("of",),
    quantifiers=(*ESTIMATED, "every victim"),
    partial=True,
)
def above(data: Data, settings: Settings) -> Evidence:
    """Above a number, at every selected value; one of them decides against it."""
    return _beyond(data, settings["value"], 1)


@relation(
    "below",
    parameters={"value": 0.0},
    required=("value",),
    selectors=("of",),
    quantifiers=(*ESTIMATED, "every victim"),
    partial=True,
)
def below(data: Data, settings: Settings) -> Evidence:
    """Below a number, at every selected value; one of them decides against it."""
    return _beyond(data, settings["value"], -1)


def _beyond(data: Data, value: float, sign: int) -> Evidence:
    """`sign` 1: above the value, −1: below it."""
    quantifier = data.quantifier
    missing = f"the victims of {', '.join(data.missing)}" if data.missing else ""
    if quantifier.kind == "every victim":  # a statement about each victim, without a test
        values = np.concatenate([one.grid.ravel() for one in data.of])
        values = values[np.isfinite(values)]
        extreme = float(sign * np.min(sign * values)) if len(values) else math.nan
        return Evidence(
            extreme,
            math.nan,
            math.nan,
            f"{len(values)} victims",
            f"{'minimum' if sign > 0 else 'maximum'} over victims",
            Side(sign * extreme > sign * value and not missing),
            Side(sign * extreme <= sign * value),
            missing or "victims",
        )

    def ends(found: Estimate) -> tuple[float, float]:
        return (found.low, found.high) if sign > 0 else (-found.high, -found.low)

    found = [quantifier.estimate(one.grid, one.column, CONFIDENCE) for one in data.of]
    inside = [quantifier.estimate(one.grid, one.column, data.wide) for one in data.of]
    outside = [quantifier.estimate(each.grid, each.column, data.corrected(len(data.of))) for each in data.of]
    opposing = [n for n, each in enumerate(outside) if ends(each)[1] < sign * value]
    shown = opposing or range(len(found))
    last = min(shown, key=lambda n: math.inf if math.isnan(found[n].value) else sign * found[n].value)
    one = data.of[last]
    text = f"{quantifier.interval(one.grid, one.column)} against {value:g}"
    if len(data.of) > 1:
        alike = len({each.name for each in data.of}) == 1
        where = " at ".join(filter(None, [one.short if alike else one.name, one.place]))
        kind = "t intervals over draws and repeats" if quantifier.kind == "mean" else "intervals of order statistics"
        text = f"{'lowest' if sign > 0 else 'highest'} of {len(data.of)} {quantifier.noun}s, {where}; {kind}"
        text += f" against {value:g}"
    return Evidence.of(
        found[last],
        text,
        Side(all(ends(each)[0] > sign * value for each in inside) and not missing),
        Side(bool(opposing)),
        missing or MORE,
    )
