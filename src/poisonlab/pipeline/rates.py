"""How long steps take: rates from the benchmark files of earlier runs, and where there are none from `rates.csv`.

``python -m poisonlab.pipeline.rates LOG`` writes that table from Snakemake's log of a run, ``.snakemake/log/….log``,
and for images that the run did not have from `archive/benchmark.json`; other arguments are those of the run. Seconds
are those for which a step holds a processor.
"""

import contextlib
import csv
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from poisonlab.datasets import sources
from poisonlab.errors import InputError
from poisonlab.pipeline.plan import Plan
from poisonlab.pipeline.progress import finished_in
from poisonlab.pipeline.steps import Step, Work, passes, points_of_source, spelt, step_of, work

SHIPPED = Path(__file__).with_name("rates.csv")
BENCHMARKS = Path("results", "benchmarks")
UNKNOWN = ""  # what a rate is of that stands for all others of its rule
ANY = "any"  # model
ALIKE = 2.0  # sizes of jobs within such a factor do not tell their start from their work
OTHER = "other"  # the rule that stands for all that are not known


@dataclass(frozen=True)
class Rate:
    """What steps of one kind took.

    Attributes:
        rule, of: see `steps.Work`; "model shape" on images of one shape alone; "any shape": all models on such images;
            `UNKNOWN`: all of the rule.
        start: seconds before a step does anything.
        per_unit: seconds for a unit of work beyond that.
        jobs: on which it rests.
    """

    rule: str
    of: str
    start: float
    per_unit: float
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


def rates_of(found: Measured, usual: Rates = MappingProxyType({})) -> dict[tuple[str, str], Rate]:
    """Rates by (rule, of), with the shape of the images and without it, and by (rule, `UNKNOWN`).

    Where the jobs of a rule are alike in size, what they take to start is not seen; then it is at most the `usual` one.
    """
    groups: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for step, own, seconds in found:
        for of in {_with_shape(own), own.of, UNKNOWN}:
            groups[step.rule, of].append((own.units, seconds))
    rates = {}
    for (rule, of), jobs in groups.items():
        sizes, times = zip(*groups[rule, UNKNOWN], strict=True)
        start = min(times) if any(units != 1 for units, _ in jobs) else 0.0
        if max(sizes) < ALIKE * min(sizes):
            start = min(start, usual[rule, UNKNOWN].start if (rule, UNKNOWN) in usual else 0.0)
        spent = sum(seconds - start for _, seconds in jobs)
        rates[rule, of] = Rate(rule, of, start, spent / sum(units for units, _ in jobs), len(jobs))
    return rates


def _with_shape(own: Work) -> str:
    return f"{own.of} {own.shape}".strip()


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
            jobs=int(row["jobs"]),
        )
        for row in rows
    }


def known(plan: Plan) -> tuple[dict[tuple[str, str], Rate], int]:
    """Rates that hold here, those of earlier runs in this folder first; and the number of their benchmark files."""
    found = measured(plan)
    usual = shipped()
    return {**usual, **rates_of(found, usual)}, len(found)


def rate_for(rates: Rates, rule: str, own: Work) -> Rate:
    """The rate of a step: its own on such images, or on any, the median of other models on such images, that of its
    rule, or that of steps of which nothing is known.
    """
    if rate := rates.get((rule, _with_shape(own))) or rates.get((rule, own.of)):
        return rate
    on_such = f" {own.shape or None}"
    alike = [rate for (other, of), rate in rates.items() if other == rule and of.endswith(on_such)]
    if alike:
        start, per_unit = (statistics.median(getattr(rate, part) for rate in alike) for part in ("start", "per_unit"))
        return Rate(rule, f"{ANY} {own.shape}", start, per_unit, sum(rate.jobs for rate in alike))
    return rates.get((rule, UNKNOWN)) or rates[OTHER, UNKNOWN]


def seconds(rates: Rates, rule: str, own: Work) -> float:
    """Processor seconds that a step takes, about."""
    rate = rate_for(rates, rule, own)
    return rate.start + rate.per_unit * (own.units if rate.rule == rule else 1)


def victim_seconds(plan: Plan) -> dict[str, float]:
    """ "study/experiment" → processor seconds that training one of its victims takes at most, by `rates.csv`.

    The same before and after a run: nothing is read of the data. An experiment that needs that is left out, and one of
    a model that was not timed on such images.
    """
    rates, found = shipped(), {}
    for study, experiment in plan.experiments:
        dataset = plan.dataset(study, experiment)
        count, known = points_of_source(plan, dataset), sources.inputs(dataset, plan.config["datasets"][dataset])
        if count and known:
            timed = [
                rate.per_unit * count[0] * passes(one.training["recipe"])
                for one in plan.variants(study, experiment).values()
                if (rate := rates.get(("train_victims", f"{one.training['model']['model']} {spelt(known[0])}".strip())))
            ]
            if max(timed, default=0):
                found[f"{study}/{experiment}"] = max(timed)
    return found


def measured_in(plan: Plan, log: str) -> Measured:
    """What the log of a run says of steps that the plan still has."""
    found = []
    for one in finished_in(log):
        with contextlib.suppress(KeyError, InputError, ValueError, IndexError):
            step = Step(*step_of(one.rule, one.output), True)
            found.append((step, work(plan, step), one.seconds))
    return found


def benchmarked(benchmark: Mapping[str, Any]) -> dict[tuple[str, str], Rate]:
    """Rates of training and of PGD on images of the published shapes, from what `make benchmark` measured."""
    found: dict[tuple[str, str], Rate] = {}
    for row in benchmark["rows"]:
        given = row["arguments"]
        rule = {"images": "train_victims", "point-steps": "evaluate_robustness"}.get(row["unit"])
        if rule and row["name"] in ("poisonlab", "poisonlab, float32"):
            of = f"{given['name']} {'x'.join(map(str, given['shape']))}"
            # Of several, as where the attack has less and less to do, the slowest.
            if (rule, of) not in found or found[rule, of].per_unit < row["workers"] / row["rate"]:
                found[rule, of] = Rate(rule, of, 1.0, row["workers"] / row["rate"], 1)
    return found


def write(plan: Plan, log: str, path: Path = SHIPPED) -> None:
    """Write the rates of a run from its log, and those of the benchmark.

    Raises:
        InputError: the log holds no finished step.
    """
    found = measured_in(plan, log)
    if not found:
        raise InputError("the log holds no finished step of this configuration; give .snakemake/log/….log of a run")
    rates = {**benchmarked(json.loads((plan.root / "archive" / "benchmark.json").read_text())), **rates_of(found)}
    others = [seconds for step, _, seconds in found if step.rule not in ("train_victims", "evaluate_robustness")]
    rest = Rate(OTHER, UNKNOWN, 0.0, sum(others) / len(others), len(others)) if others else None
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Rate)], lineterminator="\n")
        table.writeheader()
        for rate in (*(rates[key] for key in sorted(rates)), *filter(None, [rest])):
            numbers = {key: f"{getattr(rate, key):.4g}" for key in ("start", "per_unit")}
            table.writerow({**asdict(rate), **numbers})


if __name__ == "__main__":
    from poisonlab.cli.project import plan_of

    try:
        write(plan_of(sys.argv[2:]), Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace"))
    except (InputError, OSError) as error:
        sys.exit(str(error))
