"""Two selections beside each other."""

from poisonlab.claims.comparisons import Pair, larger_grids, larger_percentiles, larger_victims, pair, smallest_p
from poisonlab.claims.evidence import CONFIDENCE, LEVEL, Data, Design, Evidence, Side, enough, more_repeats
from poisonlab.claims.relations import ESTIMATED, MORE, PAIRING, Settings, relation
from poisonlab.errors import InputError
from poisonlab.statistics import Estimate, Tested, mean_interval, paired_difference


@relation(
    "larger",
    parameters={**PAIRING, "margin": None, "by": 0.0},
    selectors=("of", "than"),
    quantifiers=ESTIMATED,
    smallest_p=smallest_p,
)
def larger(data: Data, settings: Settings) -> Evidence:
    """Each value of `of` is above that of `than`, `by` so much or more; with a margin, a difference that ends below it
    is too small to count.

    Victims without poisons, and percentiles, are compared by intervals alone.

    Raises:
        InputError: `paired_by`, `known` or `by` are given for these.
    """
    pairs, margin = pair(data.of, data.than), settings["margin"]
    percentile = data.quantifier.kind == "percentile"
    if percentile or any(one.clean for one in pairs):
        if (settings["paired_by"], settings["known"], settings["by"]) != ("repeat", 0, 0):
            raise InputError(
                f"{pairs[0].words}: victims without poisons, and percentiles, are compared by intervals alone; "
                "leave out paired_by, known and by"
            )
        return (larger_percentiles if percentile else larger_victims)(pairs, data, margin)
    grids = [one.grids(settings["paired_by"]) for one in pairs]
    return larger_grids(grids, [one.words for one in pairs], data, **settings)


@relation(
    "larger difference",
    parameters={**PAIRING, "margin": 0.0},
    required=("margin",),
    selectors=("of", "than"),
    smallest_p=smallest_p,
)
def larger_difference(data: Data, settings: Settings) -> Evidence:
    """The first value of `of` exceeds the second by more than the first of `than` exceeds its second.

    Differences are taken victim by victim, then compared as in `larger`. The label of a first value is its
    difference's name.

    Raises:
        InputError: a selector does not choose two values.
    """
    for side, chosen in (("of", data.of), ("than", data.than)):
        if len(chosen) != 2:
            raise InputError(f"{side} selects {len(chosen)} values, a difference is of 2; give two selectors")
    one, other = Pair(*data.of), Pair(*data.than)
    differences = [one.differences, other.differences]
    halved = [any(side.halved for side in (pair.a, pair.b)) for pair in (one, other)]
    if settings["paired_by"] == "training set" and len(set(halved)) > 1:  # the draws that both differences have
        whole = halved.index(False)
        differences[whole] = differences[whole][1::2]
    names = [pair.a.name if pair.a.labelled else f"({pair.words})" for pair in (one, other)]
    return larger_grids([(differences[0], differences[1])], [" − ".join(names)], data, **settings)


@relation(
    "equivalent",
    parameters={"margin": 0.0, "paired_by": ("victim", "repeat")},
    required=("margin",),
    selectors=("of", "than"),
)
def equivalent(data: Data, settings: Settings) -> Evidence:
    """Each value of `of` differs from that of `than` by less than a margin: two one-sided tests each, all must agree.

    Paired by victim, draw d and repeat r are the same poison and the same victim-to-be in both.
    """
    pairs, margin, matched = pair(data.of, data.than), settings["margin"], settings["paired_by"] == "victim"

    def differences(confidence: float) -> list[Estimate]:
        if matched:
            return [mean_interval(one.differences, confidence) for one in pairs]
        return [paired_difference(one.a.grid, one.b.grid, confidence) for one in pairs]

    level = 1 - 2 * LEVEL / data.parts
    found, inside, outside = (differences(c) for c in (CONFIDENCE, level, 1 - (1 - level) / len(pairs)))
    counts = all(not isinstance(one, Tested) or enough(one) for one in found)
    shown = max(range(len(found)), key=lambda n: abs(found[n].value))
    one, tested = found[shown], inside[shown]
    if len(pairs) > 1:
        place = pairs[shown].a.place
        text = f"largest of {len(pairs)} differences, {f'at {place}' if place else pairs[shown].words}; "
        text += f"{100 * level:g} % intervals of all against ±{margin:g}"
        size: str | Design = MORE
    else:
        text = f"{100 * level:g} % interval of the paired differences, [{tested.low:.4f}, {tested.high:.4f}], "
        text += f"against ±{margin:g}"
        size = more_repeats(pairs[0].differences, max(abs(margin - abs(one.value)), margin / 2)) if matched else MORE
    return Evidence.of(
        one,
        text,
        Side(counts and all(-margin < each.low and each.high < margin for each in inside)),
        Side(counts and any(each.low > margin or each.high < -margin for each in outside)),
        size,
    )
