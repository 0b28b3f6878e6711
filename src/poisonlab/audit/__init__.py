"""An audit: what would a few wrong labels do to a model of one's own data? It writes a study and runs it.

Everything that is trained, attacked and drawn goes through the pipeline, so that a killed audit goes on where it was,
and its study can be read, edited and run again.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from poisonlab.audit import study
from poisonlab.audit.answer import NARROW, Answer, exposed, reference_radius
from poisonlab.audit.costs import hardening
from poisonlab.audit.page import page
from poisonlab.audit.question import Question
from poisonlab.audit.study import SIZES, WAYS, Choices, Facts
from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.figures.captions import counted
from poisonlab.pipeline.studies import read_yaml
from poisonlab.poisons.flips import class_number
from poisonlab.results.storage import read_table

HARDENING = 0.5  # of the time, at most, for adversarial training at the smallest size
Run = Callable[[Sequence[str]], None]  # makes files, raises InputError where that fails


def audit(question: Question, run: Run, templates: Path, cores: int = 1, say: Callable[[str], None] = print) -> Path:
    """Answer a question by one page.

    Args:
        run: makes files of the pipeline in the current folder, where the audit's study lies too.
        templates: folder of the page's template.
        cores: on which `run` works.
        say: gets a line for each phase.

    Returns:
        The page.

    Raises:
        InputError: something that the user can repair.
    """
    start, folder, name = time.monotonic(), Path(question.name), question.name
    _check_folder(folder, question)
    results, size = Path("results"), _stored_size(folder)
    study.write({"title": "Audit", "datasets": {name: dict(question.dataset)}, "run": []}, folder)
    say("1 of 5  reading the data")
    run([f"results/data/{name}.safetensors"])
    facts = facts_of(Dataset.load(results / "data" / f"{name}.safetensors"))
    asked, budget = _pair(question, facts), _budget(question, facts)
    budgets_around(budget, facts, asked[0] if asked else facts.counts.index(max(facts.counts)))
    say(f"2 of 5  looking for a recipe: {facts.n_train} training points, {len(facts.classes)} classes")
    study.write(study.first_looks(question, facts), folder)
    run([trials := f"results/tables/analyses/{name}_recipes/table.parquet"])
    table = read_table(trials)
    trial = best_recipe(table)
    choices = Choices(study.candidates(facts)[int(trial["recipe"])])
    say("3 of 5  clean nets: which pairs of classes are exposed")
    study.write(study.clean_nets(question, facts, choices), folder)
    run([found := f"results/tables/analyses/{name}_pairs/table.parquet"])
    table = read_table(found)
    radii = sorted(table["epsilon"].unique())
    radius, pairs = reference_radius(table, radii), exposed(table, radii)
    pair = asked or (pairs[0]["source"], pairs[0]["target"])
    epsilons = tuple(float(f"{factor * radius:.3g}") for factor in (0.5, 1, 2))
    choices = replace(
        choices,
        pair=pair,
        epsilons=epsilons,
        budget=budget,
        budgets=budgets_around(budget, facts, pair[0]),
        draws=SIZES[size][0],
        repeats=SIZES[size][1],
    )
    say("4 of 5  poisons and victims")
    before = time.monotonic()
    study.write(study.whole(question, facts, choices), folder)
    run([paths := f"results/paths/{name}.parquet"])
    choices = replace(choices, buckets=study.buckets(read_table(paths), pair[0], choices.budget))
    written = study.whole(question, facts, choices)
    study.write(written, folder)
    run([_table(name, experiment) for experiment in written["experiments"] if experiment != "defences"])
    per_job = written["experiments"]["defences"]["draws_per_job"]
    needed, left_out = hardening(results, name, choices, per_job, cores), ""
    if needed > HARDENING * question.seconds:
        choices = replace(choices, ways=tuple(way for way in WAYS if way != "hardened"))
        left_out = (
            f"Adversarial training was left out: it would take about {counted(math.ceil(needed / 60), 'minute')} more; "
            f"--time {math.ceil(needed / HARDENING / 60)}m allows it."
        )
        say(f"        {left_out}")
    while True:
        choices = replace(choices, draws=SIZES[size][0], repeats=SIZES[size][1])
        say(f"        {choices.draws} draws × {choices.repeats} trainings of each")
        written = study.whole(question, facts, choices)
        study.write(written, folder)
        run(_targets(written, name))
        answer = Answer(results, name, facts, choices)
        now, width = time.monotonic(), answer.widest()
        took, spent, before = now - before, now - start, now
        grows = size + 1 < len(SIZES) and math.prod(SIZES[size + 1]) / math.prod(SIZES[size])
        if width <= NARROW or not grows or spent + took * (grows - 1) > question.seconds:
            break
        size += 1
    say("5 of 5  the page")
    rests_on = [
        f"{answer.size()}; {_precision(width)}.",
        f"{facts.n_train} training points of {len(facts.classes)} classes; the pair {answer.source} → {answer.target} "
        f"is {'asked for' if question.flip else f'the most exposed of {len(pairs)}'}.",
        f"{facts.tested[pair[0]]} test points of class {answer.source} were attacked.",
        f"Targeted PGD, 20 steps, l∞ ε = {choices.epsilon:g}{' standard deviations' * (facts.kind == 'vectors')}, "
        f"{'asked for' if question.epsilon else 'at which clean nets withstand about nine of ten attacks'}.",
        f"Model {question.model or facts.model}, {_recipe(choices.recipe, trial)}.",
        "Intervals are 95 %, for new draws of the poisons and new trainings; without wrong labels, for new trainings.",
    ]
    if not choices.buckets:
        rests_on.append(
            f"Points are not compared by the length of their paths: class {answer.source} has too few different ones."
        )
    rests_on += [left_out] * bool(left_out)
    file = folder / "audit.html"
    file.write_text(page(answer, rests_on, pairs, templates), encoding="utf-8")
    return file


def _precision(width: float) -> str:
    if width <= NARROW:
        return f"narrow enough: half of the widest interval in the first sentence is {width:.3f}"
    return f"the time or the largest size was reached: half of the widest interval in the first sentence is {width:.3f}"


def _recipe(recipe: Mapping[str, Any], trial: Mapping[str, float]) -> str:
    fitted = f"{100 * trial['train_accuracy']:.1f} %" if trial["train_accuracy"] < 1 else "everything"
    why = "which fits the most" if trial["train_accuracy"] < 1 else "the quickest that fits everything"
    return (
        f"learning rate {recipe['learning_rate']:g}, batches of {recipe['batch_size']}, at most {recipe['epochs']} "
        f"epochs: of three recipes {why} ({fitted} in {trial['epochs']:.0f} epochs)"
    )


def facts_of(dataset: Dataset) -> Facts:
    """What is known once the data are prepared."""
    kind = "vectors" if len(dataset.input_shape) == 1 else "grey" if dataset.input_shape[0] == 1 else "colour"
    counts, tested = (
        tuple(int((labels == label).sum()) for label in range(dataset.num_classes))
        for labels in (dataset.train_labels, dataset.test_labels)
    )
    return Facts(len(dataset.train_labels), counts, tuple(dataset.class_names), kind, tested)


def best_recipe(trials: Any) -> Mapping[str, float]:
    """The quickest recipe that fits everything; where none does, the one that fits the most."""
    fits = trials[trials["train_accuracy"] == 1]
    if len(fits):
        return dict(fits.sort_values(["epochs", "recipe"]).iloc[0])
    return dict(trials.sort_values(["train_accuracy", "recipe"], ascending=[False, True]).iloc[0])


def _budget(question: Question, facts: Facts) -> int:
    """The number of wrong labels that is asked for."""
    asked = question.budget
    if asked is None:
        return max(1, min(10, min(facts.counts) // 10))
    return max(1, round(asked * facts.n_train)) if asked < 1 else int(asked)


def budgets_around(budget: int, facts: Facts, source: int) -> tuple[int, ...]:
    """A number of wrong labels, and half and twice as many where they are at least 1 and at most half of the class.

    Raises:
        InputError: the number itself is more.
    """
    if 2 * budget > facts.counts[source]:
        raise InputError(
            f"class '{facts.classes[source]}' has {facts.counts[source]} training points, at most half of them can "
            f"be flipped, {budget} are asked for; lower --budget or choose another class by --flip"
        )
    near = {max(1, budget // 2), budget, 2 * budget}
    return tuple(sorted(one for one in near if 2 * one <= facts.counts[source]))


def _pair(question: Question, facts: Facts) -> tuple[int, int] | None:
    if question.flip is None:
        return None
    source, target = (
        class_number(word if word in facts.classes or not word.isdecimal() else int(word), facts.classes, "--flip")
        for word in question.flip
    )
    return source, target


def _targets(study: Mapping[str, Any], name: str) -> list[str]:
    return [
        *(_table(name, experiment) for experiment in study["experiments"]),
        *(f"results/figures/{name}/{figure}.png" for figure in study["figures"]),
        f"results/tables/{name}/defences/detection.parquet",
        f"results/paths/{name}.parquet",
    ]


def _table(name: str, experiment: str) -> str:
    return f"results/tables/{name}/{experiment}/robustness.parquet"


def _check_folder(folder: Path, question: Question) -> None:
    """Refuse a folder that holds the audit of other data of the same name.

    Raises:
        InputError: it does.
    """
    file = folder / "study.yaml"
    stored = (read_yaml(file).get("datasets") or {}).get(question.name, {}).get("path") if file.is_file() else None
    own = question.dataset.get("path")
    if stored and not (own and Path(stored).resolve() == Path(own).resolve()):
        raise InputError(
            f"'{folder}' holds the audit of '{stored}', not of '{own}'; give the data another name, or work in another "
            "folder"
        )


def _stored_size(folder: Path) -> int:
    """The size that an audit had come to before it was stopped, as its study says."""
    file = folder / "study.yaml"
    experiments = read_yaml(file).get("experiments", {}) if file.is_file() else {}
    own = experiments.get("harm", {})
    size = (own.get("draws"), own.get("repeats"))
    return SIZES.index(size) if size in SIZES else 0
