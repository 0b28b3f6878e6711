"""Everything of a study's own, each by one registration in the study's folder; flips that differ within an experiment."""

import numpy as np
import pandas as pd
import pytest
from own_study import OwnStudy, ran

from poisonlab.datasets.dataset import Dataset
from poisonlab.poisons import files
from poisonlab.poisons.flips import most_confused
from poisonlab.results.storage import read_table, read_tensors

STUDY = """
title: Parts of its own
recipes:
  short: {epochs: 3, batch_size: 64, learning_rate: 0.01}
  smooth: {epochs: 3, batch_size: 64, learning_rate: 0.01, objective: {name: "own_parts:smoothed", smoothing: 0.3}}
models:
  tiny: {model: "own_parts:Tiny", width: 6}
proxies:
  digits: {dataset: digits, model: mlp, recipe: short}
attacks:
  grey: {method: "own_parts:grey", epsilon: [0.0, 0.5], goal: untargeted}
analyses:
  means: {analysis: "own_parts:class_means", dataset: digits, parameters: {scale: 2.0}}
poisons:
  there: &flip {dataset: digits, strategy: random, flips: {source: 1, target: 2}, budget: 5}
  back: {<<: *flip, flips: {source: 2, target: 1}}
  all: {<<: *flip, flips: {source: all, target: next}, budget: 20, per: all}
  both: {<<: *flip, flips: {source: 3, target: 4, both: true}}
  new: {<<: *flip, flips: {source: 3, target: new}}
  confused: {<<: *flip, flips: {source: found, target: found}, needs: {logits: digits}}
  central:
    {<<: *flip, strategy: "own_parts:central", needs: {"own_parts:brightness": means}}
victims:
  tiny: {model: tiny, recipe: smooth}
experiments:
  flips:
    poisons: [there, back, all, both, new, confused, central]
    victims: [tiny]
    draws: 2
    repeats: 2
    draws_per_job: 2
    attacks: [grey]
    headline: {attack: grey, epsilon: 0.5}
figures:
  bars: {kind: "own_parts:bars", experiments: [flips], analyses: [means], options: {colour: crimson}, claims: [1]}
"""
CLAIMS = """
claims:
  - {id: 1, statement: A grey image is no digit, source: "section 2", published: "yes", estimand: share, minimum: {draws: 1, repeats: 2},
     relation: "own_parts:below", of: {experiment: flips, condition: there}, value: 0.7}
"""
MODULE = '''
"""Everything of one's own."""

import numpy as np
from torch import nn

from poisonlab.analyses import Findings, analysis
from poisonlab.attacks import Verdicts, attack
from poisonlab.claims.evidence import Evidence, Side
from poisonlab.claims.relations import MORE, relation
from poisonlab.figures import Option, figure
from poisonlab.poisons.needs import need
from poisonlab.poisons.strategies import strategy
from poisonlab.statistics import mean_interval
from poisonlab.victims.objectives import objective


class Tiny(nn.Sequential):
    """One hidden layer."""

    def __init__(self, input_shape, num_classes, width):
        super().__init__(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), width), nn.ReLU(), nn.Linear(width, num_classes))

    def scalars(self):
        return {"width": self[1].out_features}


@objective("smoothed", parameters={"smoothing": 0.1}, ranges={"smoothing": "[0, 1)"})
def smoothed(model, images, labels, context, smoothing):
    """Cross-entropy with smoothed labels."""
    from torch.nn import functional as F

    logits = model(images).float()
    return F.cross_entropy(logits, labels, label_smoothing=smoothing), logits


@attack("grey", targeted=False)
def grey(model, images, labels, epsilons, *, norm, targets, box, seed, progress):
    """Move every pixel towards the middle of the box, by at most the radius."""
    import torch

    fooled = torch.stack([model(images + (0.5 - images).clamp(-e, e)).argmax(1) != labels for e in epsilons])
    return Verdicts(fooled, ~fooled)


@analysis("class_means", table="means", parameters={"scale": 1.0})
def class_means(subject):
    """Brightness of each training point."""
    import pandas as pd

    data = subject.dataset
    brightness = subject.parameters["scale"] * data.train_float().reshape(len(data.train_labels), -1).mean(1)
    return Findings(pd.DataFrame({"label": data.train_labels, "brightness": brightness}))


@need("brightness", section="analyses", files=lambda plan, name: [plan.analysis_table(name)])
def brightness(files):
    """Brightness of each training point, [n]."""
    from poisonlab.results.storage import read_table

    return read_table(files[0])["brightness"].to_numpy()


@strategy("central", needs=("own_parts:brightness",), deterministic=True)
def central(request):
    """Relabel the brightest points."""
    pool = request.pool()
    order = np.argsort(-request.needs["own_parts:brightness"][pool], kind="stable")
    return request.relabel(np.sort(pool[order[: request.flip.budget]]))


@figure("bars", needs=("means", "robustness"), title="Brightness", caption="Brightness of {count} classes in {colour}.",
        options={"colour": Option("of the bars", "black")})
def bars(inputs, options):
    from matplotlib.figure import Figure

    means = inputs["means"].groupby("label")["brightness"].mean()
    drawn = Figure()
    drawn.subplots().bar(means.index, means, color=options["colour"])
    return drawn, {"count": len(means), "colour": options["colour"]}


@relation("below", parameters={"value": 0.0}, required=("value",), selectors=("of",))
def below(data, settings):
    """The mean is below a number."""
    (one,) = data.of
    shown = mean_interval(one.grid)
    return Evidence.of(shown, "interval", Side(shown.high < settings["value"]), Side(shown.low > settings["value"]), MORE)
'''


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> OwnStudy:
    return ran(tmp_path_factory, "parts", {"study.yaml": STUDY, "claims.yaml": CLAIMS, "own_parts.py": MODULE})


@pytest.fixture
def dataset(study: OwnStudy) -> Dataset:
    return Dataset.load(study.file("data/digits.safetensors"))


def pairs(study: OwnStudy, dataset: Dataset, poison: str) -> list[tuple[int, int]]:
    """(true class, label) of every point that the first draw of a poison relabels, sorted."""
    (one,) = files.load(study.file(f"poisons/parts/{poison}/draw-0.safetensors")).poisons
    return sorted(zip(dataset.train_labels[one.relabel_index].tolist(), one.relabel_label.tolist(), strict=True))


def test_conditions_of_one_experiment_may_have_different_flips(study: OwnStudy, dataset: Dataset):
    assert pairs(study, dataset, "there") == [(1, 2)] * 5
    assert pairs(study, dataset, "back") == [(2, 1)] * 5
    assert pairs(study, dataset, "both") == [(3, 4)] * 5 + [(4, 3)] * 5
    assert pairs(study, dataset, "new") == [(3, 10)] * 5
    assert pairs(study, dataset, "all") == sorted((label, (label + 1) % 10) for label in range(10) for _ in range(2))
    rows = study.table("flips", "conditions").set_index("condition")
    assert rows.loc[["there", "back"], ["source_class", "target_class"]].to_numpy().tolist() == [[1, 2], [2, 1]]
    assert rows["budget"].to_dict() == {
        "there": 5, "back": 5, "both": 10, "new": 5, "all": 20, "confused": 5, "central": 5,
    }  # fmt: skip
    victims = study.table("flips", "victims")
    assert victims.groupby("condition")["training_set"].nunique().to_dict() == {
        name: 1 if name == "central" else 2 for name in rows.index
    }


def test_the_found_pair_is_the_one_that_the_proxy_confuses_most(study: OwnStudy, dataset: Dataset):
    logits = read_tensors(study.file("answers/digits.safetensors"))[0]["logits"]
    found = most_confused(logits, dataset.train_labels)
    assert pairs(study, dataset, "confused") == [found] * 5
    # By counting: of no class are more points taken for one other.
    answers = logits.argmax(1)
    table = pd.crosstab(dataset.train_labels, answers, normalize="index").to_numpy(copy=True)
    np.fill_diagonal(table, -1)
    assert table[found] == table.max()


def test_a_need_of_one_s_own_hands_an_analysis_of_one_s_own_to_a_strategy_of_one_s_own(
    study: OwnStudy, dataset: Dataset
):
    brightness = dataset.train_float().reshape(len(dataset.train_labels), -1).mean(1)
    table = read_table(study.file("tables/analyses/means/table.parquet"))
    np.testing.assert_allclose(table["brightness"], 2 * brightness, rtol=1e-6)  # float32
    (poison,) = files.load(study.file("poisons/parts/central/draw-0.safetensors")).poisons
    ones = np.flatnonzero(dataset.train_labels == 1)
    left = np.setdiff1d(ones, poison.relabel_index)
    assert brightness[poison.relabel_index].min() >= brightness[left].max()


def test_an_attack_an_objective_and_a_model_of_one_s_own_make_the_tables(study: OwnStudy):
    victims, robustness = study.table("flips", "victims"), study.table("flips", "robustness")
    assert set(victims["width"]) == {6}
    assert set(robustness["attack"]) == {"grey"}
    key = ["condition", "draw", "repeat"]
    wide = robustness.set_index([*key, "epsilon"])["adversarial_accuracy"].unstack()  # noqa: PD010
    natural = victims.set_index(key)["natural_accuracy"]
    # An attack of radius 0 does nothing; where every pixel is grey, all points get one label.
    pd.testing.assert_series_equal(wide[0.0], natural, check_names=False)
    labels = np.bincount(Dataset.load(study.file("data/digits.safetensors")).test_labels)
    assert set(np.round(wide[0.5], 9)) <= set(np.round(labels / labels.sum(), 9)) | {0.0}


def test_a_relation_and_a_figure_of_one_s_own_are_judged_and_drawn(study: OwnStudy):
    (row,) = read_table(study.file("scorecard.csv")).to_dict("records")
    grid = study.table("flips", "robustness").query("condition == 'there' and epsilon == 0.5")
    assert row["measured"] == pytest.approx(grid["adversarial_accuracy"].mean())
    assert row["test"].startswith("interval")  # what the relation says of itself
    caption, once = study.file("figures/parts/bars.txt").read_text().strip().split("\n\n")
    assert caption == "Brightness of 10 classes in crimson."
    assert once == "One draw, for nothing is left to chance: central."
    assert "#dc143c" in study.file("figures/parts/bars.svg").read_text()  # crimson
    assert ": A grey image is no digit ([claim 1](scorecard.md#parts-1))." in study.file("parts.md").read_text()
