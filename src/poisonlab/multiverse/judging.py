"""Claims judged under every combination of choices: one tidy table, a row for each claim's part and combination."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from poisonlab.claims.registration import Claim
from poisonlab.claims.verdicts import Headlines, judge
from poisonlab.multiverse.grid import FACTS, FOUND, Combination


def decided_by(claims: Sequence[Claim], study: str, experiments: Sequence[str]) -> list[Claim]:
    """The claims of which a part is judged by these experiments alone, whose own parts the others stay: p-values are
    corrected over the registered family.
    """
    tables = {f"{study}/{name}" for name in experiments}
    return [
        claim
        for claim in claims
        if not claim.relation.survey and any(set(part.judged_on.tables) <= tables for part in claim.parts)
    ]


def specifications(
    claims: Sequence[Claim],
    tables: Mapping[str, pd.DataFrame],
    combinations: Mapping[int, Combination],
    columns: Mapping[str, str],
    size: tuple[int, int],
    headlines: Headlines | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Judge the claims under every combination, as trained and, where a claim says so, of fitted victims alone.

    Args:
        claims: those of the study; the ones that the tables do not decide are left out.
        tables: conditions, victims and robustness of `running.run`, all parts together.
        columns: `study`, `multiverse` and `scale`.
        size: draws and repeats, which take the place of the registered ones where these are larger. Of a claim that
            leaves draws out because they were known, all draws judge here.

    Returns:
        `FACTS`, a column for each choice, `FOUND`. `victims` says whether "all" count or the "fitted" ones; fitted is
        the mean share of their poisons that they fitted, trained their number, seconds those of a core for all
        experiments of the combination.
    """
    study, names = columns["study"], list(tables["conditions"]["experiment"].unique())
    chosen = [_at_size(claim, size) for claim in decided_by(claims, study, names)]
    both = [
        replace(claim, victims=victims)
        for claim in chosen
        for victims in dict.fromkeys(["all", claim.victims])
    ]  # fmt: skip
    rows = []
    for number, combination in combinations.items():
        progress(f"combination {number + 1} of {len(combinations)}")
        own = {name: table[table["combination"] == number] for name, table in tables.items()}
        seconds = float(own["conditions"].groupby("experiment")["seconds"].first().sum())
        found = {
            f"{study}/{experiment}": {name: table[table["experiment"] == experiment] for name, table in own.items()}
            for experiment in names
        }
        for experiment in found.values():  # each combination by itself has a verdict; `scale` holds for all together
            experiment["conditions"] = experiment["conditions"].assign(scale="published")
        facts = {"study": study, "multiverse": columns["multiverse"], "combination": number, **combination}
        rest = {"seconds": seconds, "scale": columns["scale"]}
        rows += [facts | row | rest for row in _judged(both, found, headlines)]
    choices = list(next(iter(combinations.values())))
    return pd.DataFrame(rows, columns=[*FACTS, *choices, *FOUND])


def _at_size(claim: Claim, size: tuple[int, int]) -> Claim:
    sized = set(claim.minimum) == {"draws", "repeats"}
    least = (
        {key: min(claim.minimum[key], own) for key, own in zip(("draws", "repeats"), size, strict=True)}
        if sized
        else {name: [min(a, b) for a, b in zip(given, size, strict=True)] for name, given in claim.minimum.items()}
    )
    known = {"known": 0} if claim.settings.get("known") else {}
    return replace(claim, minimum=least, settings={**claim.settings, **known})


def _judged(claims: Sequence[Claim], tables: Any, headlines: Headlines | None) -> Iterator[dict[str, Any]]:
    for claim in claims:
        for part, row in zip(claim.parts, judge([claim], tables, headlines).to_dict("records"), strict=True):
            if not set(part.judged_on.tables) <= set(tables):
                continue
            victims = pd.concat([tables[key]["victims"] for key in part.judged_on.tables])
            yield {
                "claim": claim.id,
                "statement": row["statement"],
                "part": part.name,
                "victims": claim.victims,
                **{key: row[key] for key in ("measured", "low", "high", "unit", "n", "verdict")},
                "fitted": victims["fitted_share"].mean(),
                "trained": len(victims),
            }
