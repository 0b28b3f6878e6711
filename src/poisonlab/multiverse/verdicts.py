"""One verdict for a claim under all combinations of choices, by rules that are the same for every claim.

All rules are choices; `studies/label_noise/claims.yaml` says which came before a multiverse ran. A combination
reproduces a claim, refutes it, or does neither; one that measures nothing, see `measuring`, does not count. Where at
least `AGREE` of the others agree, theirs is the verdict; else the claim depends on the choice that explains most of the
variance of the estimates, by η² (sum of squares between its values over the whole one; Fisher, 1925), and on no named
one where chance explains as much: where, of estimates that are dealt anew to the combinations, more than `CHANCE` have
a choice with as large an η².
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from poisonlab.multiverse.grid import FACTS, FOUND

AGREE = 0.9
CHANCE = 0.05
DEALT = 2000  # times
ROUNDING = 1e-12  # of sums of squares, which are computed to about 1e-15
ROUNDED = 1e-9  # epochs: what rounding leaves of a difference of 0
KEY = ["study", "multiverse", "claim", "statement", "part", "victims"]
DECISIVE = ("reproduced", "refuted")
_KINDS = {"all": "as trained", "fitted": "of victims that fit their poisons"}
ELSEWHERE = " under the study's recipe; "  # in a test, between the verdict there and what other choices do
COLUMNS = [*KEY, "tried", "combinations", "reproduced", "refuted", "verdict", "choice", "eta2", "where"]


def choices_of(table: pd.DataFrame) -> list[str]:
    """Names of the choices of a table of `judging.specifications`."""
    return [name for name in table.columns if name not in {*FACTS, *FOUND}]


def eta_squared(values: "pd.Series[Any]", groups: "pd.Series[Any]") -> float:
    """Share of the variance of values [n] that lies between groups [n]; NaN where nothing varies or is known."""
    frame = pd.DataFrame({"value": values.astype(float), "group": groups}).dropna()
    total = float(((frame["value"] - frame["value"].mean()) ** 2).sum())
    if total <= ROUNDING * float((frame["value"] ** 2).sum()):  # equal values differ by rounding alone, if at all
        return float("nan")
    between = frame.groupby("group")["value"].transform("mean") - frame["value"].mean()
    return float((between**2).sum()) / total


def measuring(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that measure a claim: with an estimate, which too few fitted victims may not give, and of epochs one
    that is not 0 throughout, as where both sides train to their limit.
    """
    size = table[["measured", "low", "high"]].astype(float).abs().max(axis=1)
    return table[table["measured"].notna() & ~((table["unit"] == "epochs") & (size < ROUNDED))]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Judge every claim over its combinations.

    Args:
        table: of `judging.specifications`.

    Returns:
        A row for each claim's part and kind of victims, with `COLUMNS`: numbers of combinations, tried and those that
        measure it, the verdict ("not run" where none does), the choice with the largest η² ("" where chance explains as
        much), and what its values came to, in words. Of a multiverse of a reduced scale the verdict is "analogue".
    """
    names = choices_of(table)
    rows = []
    for key, every in table.groupby(KEY, sort=False):
        own = measuring(every)
        reproduced, refuted = (int((own["verdict"] == verdict).sum()) for verdict in DECISIVE)
        verdict = _verdict(reproduced, refuted, len(own))
        choice, share = _explains(own, names)
        rows.append(
            {
                **dict(zip(KEY, key, strict=True)),
                "tried": len(every),
                "combinations": len(own),
                "reproduced": reproduced,
                "refuted": refuted,
                "verdict": verdict if (every["scale"] == "published").all() else "analogue",
                "choice": choice,
                "eta2": share,
                "where": _where(own, choice) if choice else "",
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _explains(own: pd.DataFrame, names: Sequence[str]) -> tuple[str, float]:
    """The choice that explains most of the variance, and its η²; "" and NaN where chance explains as much."""
    found = {name: eta_squared(own["measured"], own[name]) for name in names}
    found = {name: share for name, share in found.items() if not math.isnan(share)}
    if not found:
        return "", math.nan
    choice = max(found, key=lambda name: found[name])
    values = own["measured"].to_numpy(dtype=float)
    generator = np.random.default_rng(0)
    dealt = generator.permuted(np.tile(values - values.mean(), (DEALT, 1)), axis=1)
    between = np.zeros(DEALT)  # the most of any choice
    for name in found:
        groups = pd.get_dummies(own[name]).to_numpy(dtype=float)  # [combinations, groups]
        between = np.maximum(between, ((dealt @ groups) ** 2 / groups.sum(0)).sum(1))
    as_large = (between >= (found[choice] - ROUNDING) * (dealt[0] ** 2).sum()).sum()
    return (choice, found[choice]) if (1 + as_large) / (1 + DEALT) <= CHANCE else ("", math.nan)


def _verdict(reproduced: int, refuted: int, combinations: int) -> str:
    if not combinations:
        return "not run"
    neither = combinations - reproduced - refuted
    counts = {"reproduced": reproduced, "refuted": refuted, "inconclusive": neither}
    return next((verdict for verdict, count in counts.items() if count >= AGREE * combinations), "depends")


def _where(own: pd.DataFrame, choice: str) -> str:
    """How many combinations with each value of a choice reproduce and refute: "sgd 4 and 0 of 5, adam 0 and 6 of 6"."""
    found = []
    for value, rows in own.groupby(choice, sort=False):
        reproduced, refuted = ((rows["verdict"] == verdict).sum() for verdict in DECISIVE)
        found.append(f"{value} {reproduced} and {refuted} of {len(rows)}")
    return ", ".join(found)


def words(row: pd.Series) -> str:
    """A row of `summary` as a sentence of the scorecard."""
    some, rest = "", ""
    if row["combinations"] < row["tried"]:
        some, rest = f"{row['combinations']} of ", " (the others measure nothing)"
    found = f"over {some}{row['tried']} combinations of choices{rest}, {_KINDS[row['victims']]}: "
    found += f"reproduced in {row['reproduced']}, refuted in {row['refuted']}"
    if row["verdict"] != "depends":
        return found
    if not row["choice"]:
        return f"{found}; no choice explains more of the variance than chance"
    share = f"{100 * row['eta2']:.0f} % of the variance"
    return f"{found}; {row['choice']} explains {share} (reproduced and refuted: {row['where']})"


def _elsewhere(own: pd.DataFrame) -> str:
    """What other choices do to a claim's part, from its rows of `summary`."""
    found: list[str] = []
    for _, row in own.iterrows():
        reproduced, refuted, count = row["reproduced"], row["refuted"], row["combinations"]
        if not found:
            reproduced, refuted = f"{reproduced} of {count} combinations of choices reproduce", f"{refuted} refute it"
        elif count != own["combinations"].iloc[0]:
            refuted = f"{refuted} of {count}"
        found.append(f"{_KINDS[row['victims']]} {reproduced} and {refuted}")
    on = ", ".join(dict.fromkeys(name for name in own["choice"] if name))
    return ", ".join(found) + (f"; estimates differ most by {on}" if on else "")


def with_choices(scorecard: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """The scorecard with what became of its claims under other choices.

    A claim that the study's own recipe reproduces or refutes `depends` where a multiverse says that it depends, or says
    the opposite, of victims as trained or of those that fit their poisons.

    Args:
        scorecard: of `claims.judge`, with its details.
        found: rows of `summary`, of all multiverses.
    """
    scorecard = scorecard.copy()
    details = [dict(detail, notes=list(detail["notes"])) for detail in scorecard.attrs["details"]]
    for place, (row, detail) in enumerate(zip(scorecard.to_dict("records"), details, strict=True)):
        same = (found["study"] == row["study"]) & (found["statement"] == row["statement"])
        own = found[same & (found["part"] == detail["part"])]
        detail["notes"] += [words(one) for _, one in own.iterrows()]
        others = set(own["verdict"]) & {*DECISIVE, "depends"} - {row["verdict"]}
        if row["verdict"] in DECISIVE and others:
            scorecard.loc[place, "verdict"] = "depends"
            scorecard.loc[place, "test"] = f"{row['test']}; {row['verdict']}{ELSEWHERE}{_elsewhere(own)}"
    scorecard.attrs["details"] = details
    return scorecard
