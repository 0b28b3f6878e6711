"""How long steps take: rates from the benchmark files of earlier runs, and where there are none from `rates.csv`.

``python -m poisonlab.pipeline.rates LOG`` writes that table from Snakemake's log of a run, ``.snakemake/log/….log``,
whose victims are still below ``results``; other arguments are those of the run. Seconds are those for which a step
holds a processor.
"""

import contextlib
import csv
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from poisonlab.errors import InputError
from poisonlab.pipeline.plan import Plan
from poisonlab.pipeline.progress import finished_in
from poisonlab.pipeline.steps import Step, Work, step_of, work

SHIPPED = Path(__file__).with_name("rates.csv")
BENCHMARKS = Path("results", "benchmarks")
UNKNOWN = ""  # what a rate is of that stands for all others of its rule
OTHER = "other"  # the rule that stands for all that are not known


@dataclass(frozen=True)
class Rate:
    """What steps of one kind took.

    Attributes:
        rule, of: see `steps.Work`; `UNKNOWN`: all of the rule.
        start: seconds before a step does anything.
        per_unit: seconds for a unit of work beyond that.
        bytes: of each victim's weights.
        jobs: on which it rests.
    """

    rule: str
    of: str
    start: float
    per_unit: float
    bytes: float
    jobs: int


Rates = Mapping[tuple[str, str], Rate]
Measured = list[tuple[Step, Work, float]]  # a step, what it does, and its seconds


def measured(plan: Plan, folder: Path = BENCHMARKS) -> Measured:
    """What the benchmark files of a run say of steps that the plan still has."""
    found = []
    for file in sorted(folder.rglob("*.jsonl")):
        rule, *rest = file.relative_to(folder).with_suffix("").parts
        step = Step(rule, "/".join(rest), True)
        try:
            found.append((step, work(plan, step), seconds_in(file)))
        except (KeyError, InputError, ValueError):
            continue  # of another configuration, or cut off by a kill
    return found


def seconds_in(file: Path) -> float:
    """Seconds of a job's benchmark file.

    Raises:
        ValueError: it is damaged or empty.
    """
    lines = file.read_text(encoding="utf-8").split("\n")
    return float(json.loads(next((line for line in reversed(lines) if line), ""))["s"])


def rates_of(found: Measured, sizes: Mapping[str, float] | None = None) -> dict[tuple[str, str], Rate]:
    """Rates by (rule, of), and by (rule, `UNKNOWN`) for all of a rule together.

    Args:
        sizes: model → bytes of a victim's weights.
    """
    groups: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for step, own, seconds in found:
        for of in {own.of, UNKNOWN}:
            groups[step.rule, of].append((own.units, seconds))
    sizes = sizes or {}
    rates = {}
    for (rule, of), jobs in groups.items():
        start = min(seconds for _, seconds in groups[rule, UNKNOWN]) if any(units != 1 for units, _ in jobs) else 0.0
        spent = sum(seconds - start for _, seconds in jobs)
        largest = max(sizes.values(), default=0.0)
        size = sizes.get(of, largest) if rule == "train_victims" else 0.0
        rates[rule, of] = Rate(rule, of, start, spent / sum(units for units, _ in jobs), size, len(jobs))
    return rates


def sizes_of(plan: Plan, folder: Path = Path("results", "victims")) -> dict[str, float]:
    """Model → bytes of a victim's weights, from the files of victims that are there."""
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for file in sorted(folder.rglob("*.safetensors")):
        step = Step("train_victims", "/".join(file.relative_to(folder).with_suffix("").parts), True)
        try:
            own = work(plan, step)
        except (KeyError, InputError, ValueError):
            continue
        totals[own.of][0] += file.stat().st_size
        totals[own.of][1] += own.victims
    return {model: size / victims for model, (size, victims) in totals.items() if victims}


def shipped() -> dict[tuple[str, str], Rate]:
    """Rates of `rates.csv`."""
    with open(SHIPPED, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        (row["rule"], row["of"]): Rate(
            rule=row["rule"],
            of=row["of"],
            start=float(row["start"]),
            per_unit=float(row["per_unit"]),
            bytes=float(row["bytes"]),
            jobs=int(row["jobs"]),
        )
        for row in rows
    }


def known(plan: Plan) -> tuple[dict[tuple[str, str], Rate], int]:
    """Rates that hold here, those of earlier runs in this folder first; and the number of their benchmark files."""
    found = measured(plan)
    return {**shipped(), **rates_of(found, sizes_of(plan))}, len(found)


def rate_for(rates: Rates, rule: str, of: str) -> Rate:
    """The rate of a step: its own, that of its rule, or that of steps without benchmark files."""
    return rates.get((rule, of)) or rates.get((rule, UNKNOWN)) or rates[OTHER, UNKNOWN]


def seconds(rates: Rates, rule: str, own: Work) -> float:
    """Processor seconds that a step takes, about."""
    rate = rate_for(rates, rule, own.of)
    return rate.start + rate.per_unit * (own.units if rate.rule == rule else 1)


def measured_in(plan: Plan, log: str) -> Measured:
    """What the log of a run says of steps that the plan still has."""
    found = []
    for one in finished_in(log):
        with contextlib.suppress(KeyError, InputError, ValueError, IndexError):
            step = Step(*step_of(one.rule, one.output), True)
            found.append((step, work(plan, step), one.seconds))
    return found


def write(plan: Plan, log: str, path: Path = SHIPPED) -> None:
    """Write the rates of a run, from its log and from the sizes of its victims.

    Raises:
        InputError: the log holds no finished step.
    """
    found = measured_in(plan, log)
    if not found:
        raise InputError("the log holds no finished step of this configuration; give .snakemake/log/….log of a run")
    rates = rates_of(found, sizes_of(plan))
    others = [seconds for step, _, seconds in found if step.rule not in ("train_victims", "evaluate_robustness")]
    rest = Rate(OTHER, UNKNOWN, 0.0, sum(others) / len(others), 0.0, len(others)) if others else None
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Rate)], lineterminator="\n")
        table.writeheader()
        for rate in (*(rates[key] for key in sorted(rates)), *filter(None, [rest])):
            numbers = {key: f"{getattr(rate, key):.4g}" for key in ("start", "per_unit", "bytes")}
            table.writerow({**asdict(rate), **numbers})


if __name__ == "__main__":
    from poisonlab.cli.project import plan_of

    try:
        write(plan_of(sys.argv[2:]), Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace"))
    except (InputError, OSError) as error:
        sys.exit(str(error))
