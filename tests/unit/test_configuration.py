"""What the configuration's check refuses, and what follows from a configuration."""

import datetime
import gzip
import math
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from poisonlab.claims import load_claims
from poisonlab.errors import InputError
from poisonlab.pipeline.configuration import check
from poisonlab.pipeline.index import pictures
from poisonlab.pipeline.plan import Plan
from poisonlab.pipeline.studies import merged, read_yaml
from poisonlab.pipeline.training import Chunk
from poisonlab.poisons.strategies import strategy as strategies

ROOT = Path(__file__).parents[2]
CLAIMS = load_claims(sorted((ROOT / "studies").glob("*/claims.yaml")))


def default(**change: Any) -> dict[str, Any]:
    """The default configuration of one study, with changes: hundreds of tests check it, and that of all takes longer."""
    return merged({**read_yaml(ROOT / "config.yaml"), "studies": ["label_noise"]}, change)


def everything(published: bool) -> Plan:
    return Plan({**read_yaml(ROOT / "config.yaml"), "published": published}, ROOT)


def study(**change: Any) -> dict[str, Any]:
    return {"label_noise": change}


def poison(name: str, **change: Any) -> dict[str, Any]:
    return study(poisons={name: change})


def victim(name: str, **change: Any) -> dict[str, Any]:
    return study(victims={name: change})


def experiment(name: str, **change: Any) -> dict[str, Any]:
    return study(experiments={name: change})


def figure(name: str, **change: Any) -> dict[str, Any]:
    return study(figures={name: change})


def refusal(change: dict[str, Any]) -> str:
    """The line that refuses a change of the default configuration."""
    with pytest.raises(InputError) as error:
        check(default(**change), ROOT)
    line = str(error.value)
    assert len(line.splitlines()) == 1
    assert len(line) < 1200
    return line


def expect(change: dict[str, Any], *parts: str) -> None:
    line = refusal(change)
    assert [part for part in parts if part not in line] == [], line


LONG = "a" * 101
TWICE = {
    "value of a sweep": (
        poison("digits_next_pca", sweep={"density": [0.9, 0.9]}),
        "digits_next_pca.sweep.density is [0.9, 0.9], each value may occur once",
    ),
    "whole number and decimal": (
        poison("toy16_next", sweep={"r": [1, 1.0]}),
        "toy16_next.sweep.r is [1, 1.0], each value may occur once",
    ),
    "zero and its negative": (poison("toy16_next", sweep={"r": [0.0, -0.0]}), "each value may occur once"),
    "values that one 64-bit number stands for": (
        poison("toy16_next", sweep={"r": [2**53, 2**53 + 1]}),
        "toy16_next.sweep.r has",
        "rows cannot be told apart by",
    ),
    "values nearer than rows are found with": (
        victim("digits", sweep={"recipe.learning_rate": [1e-9, 2e-9]}),
        "digits.sweep.recipe.learning_rate has 1e-09 and 2e-09, which rows cannot be told apart by",
    ),
    "value of a victim's sweep": (
        victim("toy", sweep={"model.width": [8, 8.0]}),
        "toy.sweep.model.width is [8, 8.0], each value may occur once",
    ),
    "victim": (experiment("digits_next", victims=["digits", "digits"]), "digits_next.victims", "may occur once"),
    "poison": (
        experiment("digits_next", poisons=["digits_next_random", "digits_next_random"]),
        "digits_next.poisons",
        "may occur once",
    ),
    "attack": (experiment("digits_next", attacks=["pgd_any", "pgd_any"]), "digits_next.attacks", "may occur once"),
    "attack of a condition": (
        experiment("digits_1to2", poisons={"clean": {"poison": "digits_1to2_clean", "attacks": ["pgd_next"] * 2}}),
        "digits_1to2.poisons.clean.attacks",
        "may occur once",
    ),
    "attack of a condition that all have": (
        experiment("digits_1to2", poisons={"clean": {"poison": "digits_1to2_clean", "attacks": ["pgd"]}}),
        "poisons.clean.attacks has ['pgd'], which all of the experiment meet; remove them there",
    ),
    "radius": ({"attacks": {"pgd": {"epsilon": [0.1, 0.10]}}}, "attacks.pgd.epsilon lists [0.1] more than once"),
    "age": ({"proxies": {"digits": {"ages": [1, 1.0]}}}, "proxies.digits.ages", "may occur once"),
    "experiment that runs": (study(run=["soft_1nn", "soft_1nn"]), "label_noise.run", "may occur once"),
    "experiment of a figure": (figure("fig_3_3", experiments=["soft_1nn"] * 2), "fig_3_3.experiments", "once"),
    "study": ({"studies": ["label_noise", "label_noise"]}, "studies lists 'label_noise' twice; remove one"),
    "two sweeps of one condition": (
        {
            **study(
                victims={"toy": {"sweep": {"recipe.learning_rate": [0.1]}}},
            )
        },
        "poison 'placed' and a victim are both swept, a condition has one axis; remove one sweep",
    ),
    "two swept numbers": (poison("digits_next_random", sweep={"budget": [1], "r": [1]}), "sweep", "at most 1 entry"),
}


@pytest.mark.parametrize("case", TWICE.values(), ids=TWICE)
def test_what_would_make_two_rows_of_one_key_is_refused(case: tuple[Any, ...]) -> None:
    expect(*case)


ENDLESS = {
    "radius": lambda x: {"attacks": {"pgd": {"epsilon": [x]}}},
    "step of an attack": lambda x: {"attacks": {"pgd": {"step_size": x}}},
    "rate": lambda x: {"recipes": {"digits": {"learning_rate": x}}},
    "momentum": lambda x: {"recipes": {"digits": {"optimiser": {"name": "sgd", "momentum": x}}}},
    "swept rate": lambda x: victim("digits", sweep={"recipe.learning_rate": [0.1, x]}),
    "swept parameter": lambda x: poison("digits_next_pca", sweep={"density": [0.1, x]}),
    "parameter of a strategy": lambda x: poison("digits_next_pca", sweep=None, parameters={"density": x}),
    "budget": lambda x: poison("digits_next_random", budget=x),
    "parameter of a model": lambda x: {"models": {"soft_1nn": {"k": x}}},
    "parameter of an analysis": lambda x: {"analyses": {"balls": {"parameters": {"mass": x}}}},
    "mean of a toy": lambda x: {"datasets": {"toy16": {"mean": x}}},
    "length of a path's step": lambda x: {"paths": {"digits": {"step_size": x}}},
    "age of a proxy": lambda x: {"proxies": {"digits": {"ages": [x]}}},
    "option of a figure": lambda x: figure("fig_3_3", options={"epsilon": x}),
    "radius of a headline": lambda x: experiment("digits_next", headline={"attack": "pgd_any", "epsilon": x}),
}


@pytest.mark.parametrize("place", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, float("1e400"), 10**400])
def test_only_finite_numbers_are_taken(place: Any, number: float) -> None:
    line = refusal(place(number))
    assert "allowed are finite numbers; change it" in line or "allowed are 63; change it" in line


REFUSED = {
    # names that do not exist
    "an unknown key": ({"drawz": 3}, "unknown key ['drawz'] in the top level", "'draws'"),
    "an unknown key of a condition": (
        experiment("digits_next", poisons={"random": {"poison": "digits_next_random", "drawz": 3}}),
        "unknown key ['drawz'] in label_noise.experiments.digits_next.poisons.random",
    ),
    "an unknown key of a recipe": ({"recipes": {"digits": {"epoch": 3}}}, "unknown key ['epoch'] in recipes.digits", "'epochs'"),
    "a strategy that is not there": (poison("digits01_0to1_random", strategy="clever"), "strategy 'clever' does not exist", "path_bucket, random"),
    "a subset of a class that is not there": ({"datasets": {"digits01": {"classes": [0, 17]}}}, "class 17 is not in 'digits01' (0 … 9", "change datasets.digits01.classes"),
    "flips of a class that is not there": (
        poison("digits01_0to1_random", flips={"source": 7}),
        "digits01_0to1_random.flips.source: class 7 is not among 0 … 1",
        "choose one of these",
    ),
    "a negative radius": ({"attacks": {"pgd": {"epsilon": [0.1, -0.1]}}}, "attacks.pgd.epsilon", "is -0.1", "at least 0", "change it"),
    "an experiment that is missed by a letter": (
        study(run=["digits_nxt"]),
        "label_noise.run names 'digits_nxt', which is not in label_noise.experiments",
        "did you mean 'digits_next'?",
    ),
    "a cover of nothing": (
        {"analyses": {"digits_cover": {"dataset": "faces"}}},
        "analyses.digits_cover.dataset names 'faces', which is not in datasets",
    ),
    "a figure of an unknown bound": (
        figure("theorems", analyses=["bowls"]),
        "figures.theorems.analyses names 'bowls', which is not in analyses",
        "did you mean 'balls'?",
    ),
    "a figure without its analysis": (
        figure("fig_2_1", analyses=[]),
        "kind 'adversarial_example' shows the example of an analysis; name one: label_noise.figures.fig_2_1.analyses",
    ),
    "graphs of nothing": (
        {"analyses": {"digits_degrees": {"needs": {"features": "faces"}}}},
        "analyses.digits_degrees.needs.features names 'faces', which is not in proxies",
    ),
    # needs
    "features of nothing": (
        poison("own", dataset="digits", strategy="class_graph_features"),
        "poisons.own needs features; name one of proxies: label_noise.poisons.own.needs: {features: …}",
    ),
    "features of other data": (
        poison("digits_next_features", needs={"features": "digits01"}),
        "needs.features: 'digits01' is of data set 'digits01', the poison of 'digits'; choose one of the same",
    ),
    "one training set's logits for every draw's": (
        poison("hard", dataset="toy2", strategy="loss_threshold", needs={"logits": "digits"}, redraw=True),
        "needs.logits: 'digits' is of data set 'digits', the poison of 'toy2'",
    ),
    "a need that nobody asks for": (
        poison("digits_next_random", needs={"logits": "digits"}),
        "needs.logits is not asked for",
    ),
    "colours of a table that is none": (
        poison("digits_5to6_colouring", needs={"colours": "digits_cover"}),
        "analyses.digits_cover gives the table cover, needed is scores; name another analysis",
    ),
    "colours of another class": (
        {**study(poisons={n: {"flips": {"source": 3, "target": 4}} for n in ("digits_5to6_random", "digits_5to6_colouring")})},
        "analyses.digits_colours is of class 5 of 'digits', the source of poison 'digits_5to6_colouring' is class 3 of 'digits'",
    ),
    "colours of other data": (
        {"analyses": {"digits_colours": {"proxy": "digits01", "parameters": {"class": 1}}}},
        "analyses.digits_colours is of class 1 of 'digits01', the source of poison 'digits_5to6_colouring' is class 5 of 'digits'",
    ),
    "fewer nets of colours than draws": (
        {"draws": 5},
        "digits_colours: 5 draws of poison 'digits_5to6_colouring' need a net of colours each, analyses.digits_colours has 3",
        "raise analyses.digits_colours.parameters.nets",
    ),
    "a colouring of a class that is not there": (
        {"analyses": {"digits_colours": {"parameters": {"class": 11}}}},
        "analyses.digits_colours.parameters.class: class 11 is not among 0 … 9",
    ),
    "an example of a class that is not there": (
        {"analyses": {"digits_nets": {"parameters": {"source": 12}}}},
        "analyses.digits_nets.parameters.source: class 12 is not among 0 … 9",
    ),
    "an analysis of two data sets": (
        {"analyses": {"digits_degrees": {"dataset": "digits01"}}},
        "analyses.digits_degrees is of the data sets ['digits', 'digits01'], allowed is one",
    ),
    "an analysis that waits for itself": (
        {"analyses": {"digits_issues": {"analysis": "issues_by_distance", "needs": {"label_issues": "digits_issues"}}}},
        "needs.label_issues: analyses.digits_issues gives the table issues, needed is label_issues",
    ),
    "a share above one": (
        {"recipes": {"digits": {"warmup": 1.5}}},
        "recipes.digits.warmup is 1.5, allowed is at most 1; change it",
    ),
    # budgets, buckets and flips
    "a budget above the class": (
        poison("digits_1to2_random", budget=500),
        "poison budget 500 exceeds the 146 images of class 1 in 'digits'; lower label_noise.poisons.digits_1to2_random.budget",
    ),
    "a share above the class": (
        poison("digits_1to2_random", budget=0.5),
        "poison budget 719 exceeds the 146 images of class 1",  # half of 1438 points
    ),
    "a swept budget above the class": (
        poison("digits_1to2_random", sweep={"budget": [3, 500]}),
        "poison budget 500 exceeds the 146 images of class 1",
    ),
    "a budget above the class by many targets": (
        poison("digits_1to2_random", flips={"source": 1, "target": "others"}, budget=20),
        "poison budget 180 exceeds the 146 images of class 1",
    ),
    "a share of less than a point": (
        poison("digits_1to2_random", budget=0.0001),
        "budget is the share 0.0001 of 1438 points, which is no poison at all; raise it",
    ),
    "half a poison": (poison("digits_1to2_random", budget=1.5), "budget is 1.5, allowed are whole numbers from 1"),
    "a budget above a bucket": (
        poison("digits_1to2_bucket", budget=30),
        "a bucket of buckets.digits_1 may hold 6 points; lower the budget or raise buckets.digits_1.minimum",
    ),
    "a bucket that is not there": (
        poison("digits_1to2_bucket", sweep={"bucket": [0, 6]}),
        "bucket 6 is not in buckets.digits_1, allowed are 0 … 5",
    ),
    "buckets of another class": (
        poison("digits_1to2_bucket", needs={"buckets": "digits_4"}),
        "'digits_4' is of class 4, the poison's source is 1; choose the same",
    ),
    "a class that is its own target": (
        poison("digits_1to2_random", flips={"source": 1, "target": 1}),
        "flips relabel class 1 to itself; choose another target",
    ),
    # attacks
    "an attack that needs a third class": (
        {"attacks": {"dlr": {"epsilon": [0.1], "method": "apgd_dlr"}}, **experiment("digits01_0to1", attacks=["dlr"])},
        "digits01_0to1: attack 'dlr': 'apgd_dlr' needs at least 3 classes, there are 2; take apgd_margin",
    ),
    "an attack of images on vectors": (
        {"attacks": {"square": {"epsilon": [0.1], "method": "square", "goal": "untargeted"}},
         **experiment("toy16_third", attacks=["square"])},
        "toy16_third: attack 'square': 'square' takes images [channels, height, width] in [0, 1] only",
        "these are inputs (16,) without a box; take fgsm or pgd",
    ),
    "an attack from one class on poisons of all": (
        experiment("digits_next", attacks=["pgd"]),
        "attack 'pgd' leads from one source class to one target class, the flips of 'random' are all → next",
    ),
    # maps and probes
    "maps of many dimensions": (
        experiment("toy16_third", maps=True),
        "toy16_third.maps: maps need a poison that is swept over buckets, or a toy of 2 dimensions",
    ),
    "maps of a plane and noise": (experiment("toy2_noise", maps=True), "toy2_noise.maps: maps need"),
    "maps of buckets that no condition takes": (
        poison("digits_1to2_bucket", strategy="random", sweep=None, needs={"buckets": "digits_1"}),
        "needs.buckets is not asked for",
    ),
    "probes towards a class without points": (
        experiment("digits_new", probes=True),
        "digits_new.probes: probes lead to training points of the poisons' label, which 'random' does not have",
    ),
    # figures
    "an option that the figure does not take": (
        figure("fig_4_8", options={"epsilom": 0.1}),
        "figures.fig_4_8.options: unknown ['epsilom'], kind '",
        "'epsilon'",
        "remove or correct them",
    ),
    "an option of another type": (
        figure("fig_3_3", options={"lines": 3}),
        "fig_3_3.options: parameter lines of 'by_experiment' is 3, allowed is a mapping",
    ),
    "a radius that no attack has": (
        figure("fig_3_3", options={"epsilon": 0.7}),
        "fig_3_3.options.epsilon is 0.7, experiment 'soft_1nn' has [0.2] for pgd_restarts; choose one of these",
    ),
    "a radius that another attack has": (
        {**figure("fig_4_8", options={"attack": "pgd_next", "epsilon": 0.3}), "attacks": {"pgd": {"epsilon": [0.1, 0.3]}}},
        "fig_4_8.options.epsilon is 0.3, experiment 'digits_1to2' has [0.1, 0.2] for pgd_next",
    ),
    "a radius that is no number": (figure("fig_3_3", options={"epsilon": "0.2"}), "options.epsilon is '0.2'"),
    "an attack that no victim meets": (
        figure("fig_3_3", options={"attack": "pgd"}),
        "fig_3_3.options.attack is 'pgd', experiment 'soft_1nn' has ['pgd_restarts']; choose one of these",
    ),
    "attacks where one is asked for": (
        figure("fig_3_3", options={"attack": ["pgd_restarts"]}),
        "options.attack is ['pgd_restarts']",
    ),
    "radii of an attack that no victim meets": (
        figure("mine", kind="radii", experiments=["digits_1to2"], options={"attack": ["pgd", "pgd_restarts"]}),
        "mine.options.attack is 'pgd_restarts', experiment 'digits_1to2' has ['pgd', 'pgd_next']; choose one of these",
    ),
    "a line of no experiment": (
        figure("fig_3_3", options={"lines": {"soft_2nn": {}}}),
        "fig_3_3.options.lines names 'soft_2nn', which is not in label_noise.experiments",
    ),
    "a headline of a radius that the attack does not have": (
        experiment("digits_next", headline={"attack": "pgd_any", "epsilon": 0.7}),
        "headline.epsilon is 0.7, 'pgd_any' has [0.1]; choose one",
    ),
    "a headline of an attack that no victim meets": (
        experiment("digits_next", headline={"attack": "pgd", "epsilon": 0.1}),
        "headline.attack is 'pgd', allowed are ['pgd_any']",
    ),
    # names that no file could have
    "a poison's long name": (study(poisons={LONG: {}}), "label_noise.poisons has the name", "up to 100 letters"),
    "a condition's long name": (experiment("digits_next", poisons={LONG: "digits_next_random"}), "up to 100 letters"),
    "a victim's long name": (study(victims={LONG: {}}), "label_noise.victims has the name", "up to 100 letters"),
    "an experiment's long name": (study(experiments={LONG: {}}), "label_noise.experiments has the name"),
    "a figure's long name": (study(figures={LONG: {}}), "label_noise.figures has the name"),
    "an analysis's long name": ({"analyses": {LONG: {}}}, "analyses has the name"),
    "a data set's long name": ({"datasets": {LONG: {}}}, "datasets has the name"),
    "a name with a line's end": ({"datasets": {"mine\n": {"source": "digits"}}}, r"datasets has the name 'mine\n'"),
    "a name that is a number": ({"datasets": {3: {"source": "digits"}}}, "the key 3 in datasets is no word"),
    # what YAML and people write
    "ten million draws": ({"draws": 10_000_000}, "draws is 10000000, allowed is at most 10000"),
    "ten million proxies": ({"proxies": {"digits": {"seeds": 10_000_000}}}, "seeds is 10000000, allowed is at most"),
    "as many jobs as nobody can plan": (
        {"draws": 10_000, "repeats": 10_000},
        "soft_1nn: its draws and repeats make 125000 training jobs, allowed are 10000; lower draws or repeats",
    ),
    "a text for a number": (experiment("digits_1to2", draws="3"), "is '3', allowed is a whole", "use --configfile"),
    "a small number as YAML reads no number": (
        {"recipes": {"digits": {"learning_rate": "1e-3"}}},
        "learning_rate is '1e-3', allowed is a number; write it without quotes, and 1e-3 as 0.001",
    ),
    "true for a number": ({"draws": True}, "draws is True, allowed is a whole number or null"),
    "a date": (study(title=datetime.date(2024, 5, 1)), "label_noise.title is datetime.date(2024, 5, 1) (date)", "quotes"),
    "a home of nobody": ({"mirror": "~nobody_at_all/x"}, "path '~nobody_at_all/x' cannot be used", "correct mirror"),
    "an empty mirror": ({"mirror": ""}, "mirror is ''"),
    "a number of four hundred digits": (poison("digits_next_random", budget=10**400), "of 1329 bits, allowed are 63"),
    "yes for true": ({"published": "yes"}, "published is 'yes', allowed is true or false"),
    "models that are too wide to be words": ({"models": {"wide": {"model": "mlp", "width": "a"}}}, "a whole number"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_one_line(case: tuple[Any, ...]) -> None:
    expect(*case)


SECTIONS = ("datasets", "recipes", "models", "attacks", "proxies", "paths", "buckets", "analyses")
OWN = ("poisons", "victims", "experiments", "figures")
ENTRIES = {
    "poisons": ("digits_next_random", ("parameters", "flips", "needs")),
    "experiments": ("digits_next", ("poisons", "victims", "attacks")),
    "figures": ("fig_3_3", ("experiments", "analyses", "options")),
}


@pytest.mark.parametrize("value", [None, [], 3, "word"])
def test_a_mapping_is_a_mapping_at_every_level(value: Any) -> None:
    for section in SECTIONS:
        expect({section: value}, f"{section} is {value!r}, allowed is a mapping; change it")
        expect({section: {"digits": value}}, f"{section}.digits is {value!r}, allowed is a mapping; change it")
    expect({"label_noise": value}, f"label_noise is {value!r}, allowed is a mapping; change it")
    for section in OWN:
        expect(study(**{section: value}), f"label_noise.{section} is {value!r}, allowed is a mapping; change it")
        expect(study(**{section: {"x": value}}), f"label_noise.{section}.x is {value!r}, allowed is a mapping")
    for section, (name, keys) in ENTRIES.items():
        for key in keys:
            if value != [] or key not in ("experiments", "analyses"):  # a list is what these may be
                expect(study(**{section: {name: {key: value}}}), f"label_noise.{section}.{name}.{key}")


BROKEN = {"syntax": "def (:\n", "division": "1 / 0\n", "end": "raise SystemExit(3)\n", "interrupted": "x = 1\n"}
KINDS = {
    "strategy": lambda name: poison("digits_next_random", strategy=name),
    "model": lambda name: victim("digits", model=name),
    "attack": lambda name: {"attacks": {"pgd": {"method": name}}},
    "objective": lambda name: {"recipes": {"digits": {"objective": name}}},
    "analysis": lambda name: {"analyses": {"balls": {"analysis": name}}},
    "figure": lambda name: figure("fig_3_3", kind=name),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_code_of_ones_own_that_cannot_be_loaded_is_named(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in BROKEN.items():
        (tmp_path / f"own_{name}.py").write_text(text)
        (tmp_path / f"package_{name}").mkdir()
        (tmp_path / f"package_{name}" / "__init__.py").write_text(text)
        wrong = f"package_{name}.inside:thing"
        assert f"'{wrong}'" in refusal(kind(wrong))
    assert "own_syntax" in refusal(kind("own_syntax:thing"))
    for wrong in (
        ":thing",
        "json:",
        ":",
        "..json:thing",
        "js on:thing",
        "json:nope",
        "math:nope",
        "no_such_module:thing",
    ):
        assert f"'{wrong}'" in refusal(kind(wrong))
    assert r"'random\n'" in refusal(kind("random\n"))


def test_a_model_of_ones_own_is_looked_for_where_python_would_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "networks_of_mine.py").write_text(
        "if True:\n    class Net:\n        depth = 2\n\ndef make():\n    inner = 1\nfrom json import loads as read\nalias = Net\n"
    )
    (tmp_path / "networks_of_others.py").write_text("from networks_of_mine import *\n")
    for found in ("mine:Net", "mine:make", "mine:read", "mine:alias", "others:Net"):
        check(default(**victim("digits", model=f"networks_of_{found}")), ROOT)
    for inside in ("depth", "inner", "loads"):
        assert f"has no '{inside}'" in refusal(victim("digits", model=f"networks_of_mine:{inside}"))
    assert "networks_of_mine" not in sys.modules  # importing a model would import torch


def test_a_check_takes_no_longer_for_large_numbers() -> None:
    began = time.perf_counter()
    refusal({"draws": 10_000, "repeats": 10_000})
    assert time.perf_counter() - began < 10  # unchecked, the plan of these jobs took two minutes


# ---------------------------------------------------------------------------------------- what follows from a configuration


def test_clean_victims_are_not_probed_and_toys_that_are_looked_at_are_not_trained() -> None:
    plan = Plan(default(), ROOT)
    jobs = plan.jobs("label_noise", "digits_1to2")
    probed = {Path(file).stem for file in plan.chunk_files("label_noise", "digits_1to2", "probes")}
    names = {condition for (_, chunk), conditions in jobs.items() if chunk.name in probed for condition in conditions}
    assert names == {"bucket", "random"}
    assert {name for conditions in jobs.values() for name in conditions} == {"bucket", "random", "clean"}
    assert ("label_noise", "toy2") not in plan.experiments
    assert ("label_noise", "fig_4_1") in plan.drawn
    without = Plan(default(label_noise={"run": ["digits01_0to1"]}), ROOT)
    assert ("label_noise", "fig_4_2") not in without.drawn


def test_figures_show_poisons_of_victims_that_are_archived_already() -> None:
    """Crafting them takes no training: `skip_archived` leaves out victims, not what figures show of their poisons."""
    rest, everything = (Plan(default(skip_archived=skip), ROOT) for skip in (True, False))
    assert ("label_noise", "soft_1nn") not in rest.experiments
    assert ("label_noise", "fig_3_1") in rest.drawn
    assert rest.figure_inputs("label_noise", "fig_3_1") == everything.figure_inputs("label_noise", "fig_3_1")


def test_a_figure_gets_the_table_of_each_of_its_analyses() -> None:
    plan = Plan({**default(), "studies": ["medoids"], "published": True}, ROOT)
    names = plan.figures["medoids", "nearness"]["analyses"]
    assert len(names) > 1
    assert plan.figure_files("medoids", "nearness")["nearness"] == [plan.analysis_table(name) for name in names]


def test_of_a_chunk_only_what_the_archive_lacks_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ("label_noise", "digits_1to2")
    jobs = {"draws": 2, "repeats": 8, "draws_per_job": 2, "repeats_per_job": 8}
    values = [0, 1, 2, 3, 4, 5]
    there = {("random", None, draw, repeat) for draw in range(2) for repeat in range(4)}
    there |= {("bucket", value, 0, repeat) for value in values for repeat in range(8)}
    there |= {("bucket", value, 1, repeat) for value in values[1:] for repeat in range(8)}
    there |= {("clean", None, 0, repeat) for repeat in range(8)}

    def continued() -> Plan:
        plan = Plan(default(skip_archived=True, **experiment("digits_1to2", **jobs)), ROOT)
        assert plan.sweep("label_noise", "digits_1to2_bucket")[1] == values
        vars(plan)["archived"] = {key: there}
        return plan

    # Without the buckets of the archived victims, those that are cut here are others.
    plan = continued()
    assert plan.jobs(*key) == {
        ("digits", Chunk(range(2), range(4, 8))): ["random"],
        ("digits", Chunk(range(2), range(8))): ["bucket"],
    }
    assert plan.bucket_source("digits_1") == "results/paths/digits.parquet"
    buckets = tmp_path / "buckets.csv.gz"
    buckets.touch()
    monkeypatch.setattr(Plan, "archived_buckets", lambda *_: buckets)
    assert continued().jobs(*key) == {
        ("digits", Chunk(range(2), range(4, 8))): ["random"],
        ("digits", Chunk(range(1, 2), range(8))): ["bucket"],
    }
    assert plan.bucket_source("digits_1") == str(buckets)
    assert Plan(default(), ROOT).bucket_source("digits_1") == "results/paths/digits.parquet"


def test_maps_are_drawn_of_the_buckets_where_there_are_some() -> None:
    other = {"dataset": "digits", "strategy": "at_distance", "flips": {"source": 1, "target": 2}, "sweep": {"r": [1]}}
    poisons = {"a": "other"}  # before "bucket" in every order
    change = {"poisons": {"other": other}, "experiments": {"digits_1to2": {"poisons": poisons}}}
    plan = Plan(default(label_noise=change), ROOT)
    assert plan.first_chunk("label_noise", "digits_1to2")["condition"] == "bucket"


def test_a_figure_may_have_a_source_and_a_note_of_its_own() -> None:
    plan = Plan(default(**figure("fig_3_1", source="a book", note="And more.")), ROOT)
    sources = {figure["name"]: figure["source"] for figure in pictures(plan, "label_noise").values()}
    assert (sources["fig_3_1"], sources["fig_2_1"]) == ("a book", "label-noise thesis, section 2.3, Fig. 2.1")
    assert plan.figure_settings("label_noise", "fig_3_1")["note"] == "And more."
    assert plan.figure_settings("label_noise", "fig_2_1")["note"] == ""


def test_every_registered_claim_stands_below_a_figure() -> None:
    plans = [everything(published) for published in (False, True)]
    listed = {(key[0], claim) for plan in plans for key, one in plan.figures.items() for claim in one["claims"]}
    assert listed == {(claim.study, claim.id) for claim in CLAIMS}


@pytest.fixture(scope="module")
def published() -> Plan:
    return everything(published=True)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.study}-{claim.id}-{claim.relation.name}")
def test_the_published_configuration_has_the_size_that_each_claim_registers(published: Plan, claim: Any) -> None:
    sizes = {name: least for name, least in claim.minimum.items() if isinstance(least, list | tuple)}
    for table in {table for part in claim.parts for table in part.judged_on.tables if sizes}:
        own, _, name = table.partition("/")
        conditions = published.conditions(own, name)
        for strategy, (draws, repeats) in sizes.items():
            named = [key for key in conditions if key == strategy]  # a strategy's name stands for its condition
            found = named or [
                key
                for key, entry in conditions.items()
                if strategy == published.poison(own, entry["poison"])["strategy"]
            ]
            assert found, (table, strategy)
            for condition in found:
                chunks = [chunk for (_, chunk), names in published.jobs(own, name).items() if condition in names]
                planned = [len({n for one in chunks for n in getattr(one, axis)}) for axis in ("draws", "repeats")]
                assert planned[0] >= draws, (table, condition, planned)
                assert planned[1] >= repeats, (table, condition, planned)


@pytest.mark.parametrize("study", sorted(file.parent.name for file in (ROOT / "studies").glob("*/study.yaml")))
@pytest.mark.parametrize("published", [False, True])
def test_every_study_of_the_repository_can_be_planned_by_itself(study: str, published: bool) -> None:
    plan = Plan({**read_yaml(ROOT / "config.yaml"), "studies": [study], "published": published}, ROOT)
    assert {name for name, _ in plan.experiments} == {study}


def test_flips_are_looked_for_once_however_many_kinds_of_victims_are_trained_on_them() -> None:
    change = {"experiments": {"transfer": {"detection": 1}}}
    plan = Plan({**read_yaml(ROOT / "config.yaml"), "studies": ["cifar3"], "cifar3": change}, ROOT)
    places = plan.detection_inputs("cifar3", "transfer")
    poisons = {entry["poison"] for entry in plan.experiment("cifar3", "transfer")["poisons"].values()} - {"clean"}
    assert len(plan.experiment("cifar3", "transfer")["victims"]) > 1
    assert {file.split("/")[3] for file in places.values()} == poisons
    assert len(places) == len(poisons)


def test_a_victim_may_have_another_name_in_conditions() -> None:
    change = experiment("digits_next", victims={"plain": "digits", "other": "toy"})
    named = Plan(default(**change), ROOT).conditions("label_noise", "digits_next")
    assert {key.partition("@")[2]: entry["victim"] for key, entry in named.items()} == {
        "plain": "digits",
        "other": "toy",
    }
    alone = Plan(default(**experiment("digits_next", victims={"plain": "digits"})), ROOT)
    assert {entry["victim"] for entry in alone.conditions("label_noise", "digits_next").values()} == {"digits"}
    assert not [key for key in alone.conditions("label_noise", "digits_next") if "@" in key]
    assert {variant for variant, _ in alone.jobs("label_noise", "digits_next")} == {"digits"}
    expect(experiment("digits_next", victims={"plain": "nobody"}), "digits_next.victims names 'nobody'")
    expect(experiment("digits_next", victims={}), "digits_next.victims is {}")


def test_a_condition_may_have_a_victim_of_its_own() -> None:
    own = {"clean": {"poison": "digits_next_random", "victim": "toy"}, "random": "digits_next_random"}
    plan = Plan(default(**experiment("digits_next", poisons=own, victims=["digits"])), ROOT)
    conditions = plan.conditions("label_noise", "digits_next")
    assert {name: entry["victim"] for name, entry in conditions.items()} == {"clean": "toy", "random": "digits"}
    jobs = plan.jobs("label_noise", "digits_next")
    assert {variant: names for (variant, _), names in jobs.items()} == {"digits": ["random"], "toy": ["clean"]}
    assert len(plan.variants("label_noise", "digits_next")) == 2
    several = Plan(default(**experiment("digits_next", poisons=own, victims=["digits", "toy64"])), ROOT)
    assert set(several.conditions("label_noise", "digits_next")) == {"clean", "random@digits", "random@toy64"}
    own["clean"]["victim"] = "nobody"
    expect(experiment("digits_next", poisons=own), "digits_next.poisons.clean.victim names 'nobody'")


def test_an_experiment_of_a_study_without_claims_is_ones_own(tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "study.yaml").write_text(
        "poisons: {one: {dataset: digits, strategy: random}}\nvictims: {net: {model: pooled, recipe: quick}}\n"
        "recipes: {quick: {epochs: 1}}\nexperiments: {mine: {poisons: [one], victims: [net], attacks: [pgd_any]}}\n"
    )
    own = Plan(default(studies=[str(tmp_path / "mine")]), ROOT)
    assert own.collect_settings("mine", "mine")["scale"] == "own"
    (tmp_path / "mine" / "claims.yaml").write_text("claims: []\n")
    judged = Plan(default(studies=[str(tmp_path / "mine")]), ROOT)
    assert judged.collect_settings("mine", "mine")["scale"] == "analogue"


def test_a_study_does_not_mean_another_thing_by_a_name_of_the_configuration(tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    own = tmp_path / "mine" / "study.yaml"
    own.write_text("attacks: {pgd_any: {epsilon: [0.03], goal: untargeted}}\n")
    words = "study 'mine' means another thing by attacks.pgd_any than config.yaml, which would win; rename it"
    assert refusal({"studies": [str(tmp_path / "mine")]}) == words
    # What the user says in the configuration wins over both.
    change = {"studies": [str(tmp_path / "mine")], "attacks": {"pgd_any": {"epsilon": [0.07]}}}
    assert Plan(default(**change), ROOT).config["attacks"]["pgd_any"]["epsilon"] == [0.07]


def test_one_draw_of_a_deterministic_strategy_is_said_in_the_log_and_in_captions() -> None:
    once = {"dataset": "digits", "flips": {"source": 1, "target": 2}}
    first = next(
        name
        for name, entry in strategies.entries().items()
        if entry.deterministic and not entry.needs and name != "none"
    )
    change = {
        "poisons": {"once": {**once, "strategy": first, "budget": 3}},
        "experiments": {"digits_1to2": {"poisons": {"once": "once"}, "draws": 4}},
        "figures": {"fig_3_1": {"note": "And more."}, "own": {"kind": "conditions", "experiments": ["digits_1to2"]}},
        "labels": {"once": "the first"},
    }
    plan = Plan(default(label_noise=change), ROOT)
    assert plan.drawn_once("label_noise", "digits_1to2") == ["once"]
    (note,) = [line for line in plan.notes if "digits_1to2" in line]
    assert note == (
        "label_noise.experiments.digits_1to2: one draw instead of several of once, whose strategy leaves nothing to chance"
    )
    own = plan.figure_settings("label_noise", "own")
    assert own["note"] == "One draw, for nothing is left to chance: the first."
    change["figures"]["own"] = {"kind": "radii", "experiments": ["digits_1to2"], "options": {"attack": "pgd_next"}}
    assert Plan(default(label_noise=change), ROOT).figure_settings("label_noise", "own")["note"] == ""
    change["experiments"]["digits_1to2"]["draws"] = 1
    assert not [line for line in Plan(default(label_noise=change), ROOT).notes if "digits_1to2" in line]


def test_a_budget_beyond_what_a_division_leaves_is_refused_before_anything_runs() -> None:
    half = {"dataset": "digits", "strategy": "random", "flips": {"source": 1, "target": 2}, "budget": 80}
    expect(
        study(poisons={"half": {**half, "split": 0.5}}),
        "poison budget 80 exceeds the 73 images of class 1 in 'digits'; lower label_noise.poisons.half.budget",
    )
    expect(
        study(poisons={"few": {**half, "budget": 9, "split": {"share": 0.5, "points": 160}}}), "exceeds the 8 images"
    )
    check(default(**study(poisons={"half": {**half, "budget": 70, "split": 0.5}})), ROOT)


def test_a_radius_that_no_attack_has_is_refused_in_a_list_of_attacks_too() -> None:
    shown = {"strong": {"attack": "pgd", "epsilon": 0.33}}
    line = refusal(figure("own", kind="accuracies", experiments=["digits01_0to1"], options={"attacks": shown}))
    assert (
        "label_noise.figures.own.options.attacks.strong.epsilon is 0.33, experiment 'digits01_0to1' has [0.1, 0.2]"
        in line
    )


def test_a_comparison_without_one_baseline_is_refused_before_anything_runs() -> None:
    poisons = {"clean": "digits_1to2_clean", "random": "digits_1to2_random", "more": "digits_1to2_random"}
    change = {
        "experiments": {"two": {"poisons": poisons, "victims": ["digits"], "attacks": ["pgd"]}},
        "figures": {"two": {"kind": "conditions", "experiments": ["two"], "options": {"epsilon": 0.1}}},
    }
    expect(
        study(**change), "figures.two.options: experiment 'two' has 2 conditions of strategy 'random'", "by baseline"
    )
    change["figures"]["two"]["options"]["baseline"] = "random"
    check(default(**study(**change)), ROOT)
    change["figures"]["two"]["options"]["baseline"] = "rnd"
    expect(study(**change), "options.baseline is 'rnd', experiment 'two' has ['clean', 'random', 'more']; choose one")


def test_what_was_left_out_as_a_copy_is_archived(tmp_path: Path) -> None:
    plan = Plan(default(), ROOT)
    plan.root = tmp_path
    (folder := tmp_path / "archive" / "own" / "first").mkdir(parents=True)
    head = "study,experiment,condition,axis_value,draw,repeat\n"
    for name, rows in (("victims", "own,first,medoids,1.0,0,0\n"), ("copies", "own,first,medoids,1.0,1,0\n")):
        (folder / f"{name}.csv.gz").write_bytes(gzip.compress((head + rows).encode()))
    assert plan.archived == {("own", "first"): {("medoids", 1.0, 0, 0), ("medoids", 1.0, 1, 0)}}
