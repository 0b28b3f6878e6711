"""What the pages about data, models and strategies of one's own show does what they say."""

import ast
import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from how_to_pages import OWN, PYTHON_FILES, blocks, changed, commands, configuration, studies_of

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.prepare import prepare
from poisonlab.datasets.tables import rows
from poisonlab.errors import InputError
from poisonlab.models.inference import predict, rebuild, resolve_device
from poisonlab.poisons.crafting import craft
from poisonlab.poisons.needs import need
from poisonlab.poisons.poison import Poison, apply
from poisonlab.results import storage
from poisonlab.results.storage import Workspace
from poisonlab.victims.engines import train
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob

# ----------------------------------------------------------------------------------------------------------- own_data.md


def test_the_npz_becomes_the_data_set_that_the_page_describes(inside):
    dataset = prepare("my_data", configuration("my_data.yaml")["datasets"]["my_data"])
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (1400, 397)
    assert dataset.input_shape == (1, 8, 8)
    assert dataset.class_names[:3] == ("zero", "one", "two")


def test_classes_are_renumbered_in_the_order_listed(inside):
    specifications = configuration("my_data.yaml", studies=["sevens"])["datasets"]
    whole, pair = (prepare(name, specifications[name]) for name in ("my_data", "my_pair"))
    assert pair.class_names == ("seven", "one")
    np.testing.assert_array_equal(
        pair.train_images[pair.train_labels == 0], whole.train_images[whole.train_labels == 7]
    )


def test_the_folder_becomes_the_data_set_that_the_page_describes(inside):
    dataset = prepare("my_images", configuration("my_images.yaml")["datasets"]["my_images"])
    assert dataset.class_names == ("cat", "dog")
    assert dataset.input_shape == (1, 32, 32)
    assert dataset.test_labels.tolist() == [0, 1]


def test_the_table_becomes_the_data_set_that_the_page_describes(inside):
    from sklearn.datasets import load_breast_cancer

    config = configuration(studies=["tumours"])
    dataset, source = prepare("tumours", config["datasets"]["tumours"]), load_breast_cancer()
    assert (dataset.class_names, dataset.input_shape, dataset.box, dataset.free) == (
        ("benign", "malignant"), (30,), None, None,
    )  # fmt: skip
    for index, labels, images in (
        (dataset.train_index, dataset.train_labels, dataset.train_images),
        (dataset.test_index, dataset.test_labels, dataset.test_images),
    ):
        assert (source.target_names[source.target[index]] == np.array(dataset.class_names)[labels]).all()
        # A float32 of a standardised number, times a standard deviation that is at most as large as the mean.
        np.testing.assert_allclose(rows(dataset, images), source.data[index], rtol=1e-5, atol=1e-5)
    assert config["tumours"]["poisons"]["random"]["flips"] == {"source": 1, "target": 0, "both": False}


def test_an_attack_that_takes_images_alone_is_refused_for_a_table_before_anything_runs(inside):
    apgd = "{method: apgd_ce, epsilon: [0.1, 0.2], goal: untargeted}"
    with pytest.raises(InputError, match=r"'apgd_ce' takes images .* only, these are vectors without a box; take fgsm"):
        configuration(studies=[changed(inside, "tumours", "{epsilon: [0.1, 0.2], goal: untargeted}", apgd)])


def test_a_class_of_the_page_may_be_misspelt(inside):
    with pytest.raises(
        InputError, match=r"flips.source: class sewen is not among 0 … 1 or 'seven', 'one'; did you mean"
    ):
        configuration(studies=[changed(inside, "sevens", "source: seven", "source: sewen")])


def test_a_bad_array_gives_the_error_that_the_page_shows(inside, monkeypatch):
    arrays = dict(np.load("my_data.npz"))
    arrays["train_images"] = arrays["train_images"].astype(np.float32)
    (inside / "bad").mkdir()
    monkeypatch.chdir(inside / "bad")
    np.savez("my_data.npz", **arrays)
    with pytest.raises(InputError) as error:
        prepare("my_data", {"source": "npz", "path": "my_data.npz"})
    assert str(error.value) in [block.text.strip() for block in blocks(OWN[0], "text")]


# ---------------------------------------------------------------------------------------------------------- own_model.md


MODELS = ({"model": "my_model:Net"}, {"model": "my_model:Net", "channels": 64})


@pytest.mark.parametrize("name", MODELS, ids=str)
def test_the_model_learns_and_comes_back_from_its_file(name, inside, digits, tmp_path):
    clean = apply(Poison(digits.num_classes), digits)
    job = VictimJob("first", clean, seed=1)
    recipe = Recipe(epochs=1, batch_size=64, learning_rate=0.005)
    ((_, victim),) = train([job], name, recipe)
    # Chance is 0.1; twenty seeds of each model gave 0.78 … 0.93.
    assert victim.train_accuracy > 0.5
    weights = victim.parameters["output.weight"].astype(np.float64)
    assert victim.scalars == {"output_norm": pytest.approx(np.sqrt((weights**2).sum()), rel=1e-5)}
    storage.write_tensors(victim.parameters, tmp_path / "victim.safetensors")
    parameters, _ = storage.read_tensors(tmp_path / "victim.safetensors")
    network = rebuild(name, digits.input_shape, digits.num_classes, parameters, resolve_device("cpu"))
    answers = predict(network, torch.from_numpy(digits.train_images)).numpy()
    assert (answers == digits.train_labels).mean() == victim.train_accuracy


def test_the_models_differ_in_their_parameters(inside, digits):
    from poisonlab.models import build

    net, wide = (build(model, digits.input_shape, 10, seed=0) for model in MODELS)
    assert (net.convolution.out_channels, wide.convolution.out_channels) == (16, 64)


def test_a_model_that_is_not_there_is_named_before_anything_runs(inside):
    with pytest.raises(InputError, match=r"there is no module 'my_modle'; put my_modle\.py into the study's folder"):
        configuration(studies=[changed(inside, "widths", "my_model:Net", "my_modle:Net")])


# ------------------------------------------------------------------------------------------------------- own_strategy.md


def crafted(dataset: Dataset, name: str, parameters: dict, sweep: str, values: list, **more: Any) -> list[Poison]:
    flips = {"source": 1, "target": 2}
    settings = {"strategy": name, "parameters": parameters, "flips": flips, "budget": 3, "per": "pair"}
    return craft(dataset, settings | {"sweep": sweep, "values": values}, **{"needs": {}, "draw": 0, **more})


def test_the_relabelling_strategy_keeps_to_its_share(inside, digits):
    images = digits.train_float().reshape(len(digits.train_labels), -1)
    distance = ((images - images[digits.train_labels == 2].mean(axis=0)) ** 2).sum(axis=1)
    pool = np.flatnonzero(digits.train_labels == 1)
    nearest = set(pool[np.argsort(distance[pool])][: round(0.1 * len(pool))])
    near, anywhere = crafted(digits, "my_strategy:nearest_to_mean", {"norm": 2}, "share", [0.1, 1.0])
    assert set(near.relabel_index) <= nearest
    assert set(anywhere.relabel_index) <= set(pool)
    for poison in (near, anywhere):
        assert poison.budget == len(set(poison.relabel_index)) == 3
        assert poison.relabel_label.tolist() == [2, 2, 2]


def test_the_appending_strategy_adds_labelled_copies_with_a_white_corner(inside, digits):
    (poison,) = crafted(digits, "my_strategy:white_corner", {"side": 3}, "", [None])
    assert poison.budget == 3
    assert poison.append_labels.tolist() == [2, 2, 2]
    assert (poison.append_images[..., -3:, -3:] == 1).all()
    ones = digits.train_images[digits.train_labels == 1]
    for image in poison.append_images:
        outside = image.copy()
        outside[..., -3:, -3:] = 0
        blanked = ones.copy()
        blanked[..., -3:, -3:] = 0
        assert (blanked == outside).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("my_strategy:nearest_to_mean", {"share": 0.5}),
        ("my_strategy:white_corner", {"side": 2}),
        ("long_strategy:far_from_mean", {"steps": 3}),
    ],
)
def test_a_draw_of_any_strategy_is_repeatable_and_another_draw_differs(inside, digits, name, parameters):
    (first,), (again,), (other,) = (crafted(digits, name, parameters, "", [None], draw=draw) for draw in (0, 0, 1))
    edits = [
        np.concatenate([p.relabel_index, [] if p.append_images is None else p.append_images.ravel()])
        for p in (first, again, other)
    ]
    np.testing.assert_array_equal(edits[0], edits[1])
    assert not np.array_equal(edits[0], edits[2])


def test_a_long_strategy_that_is_killed_goes_on_and_finds_the_same_points(inside, digits, tmp_path):
    name, parameters = "long_strategy:far_from_mean", {"steps": 500}
    (whole,) = crafted(digits, name, parameters, "", [None])
    lines: list[str] = []

    def stop(line: str) -> None:
        lines.append(line)
        if len(lines) == 3:
            raise KeyboardInterrupt

    place = Workspace(tmp_path / "work", "1")
    with pytest.raises(KeyboardInterrupt):
        crafted(digits, name, parameters, "", [None], workspace=place, progress=stop)
    assert place.read("swaps")[1] == {"step": 300}
    (resumed,) = crafted(digits, name, parameters, "", [None], workspace=place, progress=lines.append)
    assert [line.split(":")[0] for line in lines[3:]] == ["step 400 of 500", "step 500 of 500"]
    np.testing.assert_array_equal(resumed.relabel_index, whole.relabel_index)
    # The search only ever accepts what is farther, and 500 swaps find more than the random start has.
    (start,) = crafted(digits, name, {"steps": 1}, "", [None])
    assert whole.facts["distance"] > start.facts["distance"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sweep: {share: [0.1, 0.3]}", "sweep: {part: [0.1]}", r"names 'part', allowed are budget and the parameters"),
        ("parameters: {norm: 1}", "parameters: {share: 0.2}", "both give 'share'"),
        ("norm: 1", "nrom: 1", r"has no parameters \['nrom'\], it takes \['norm', 'share'\]"),
        ("my_strategy:white_corner", "my_strategy:white_cornre", "cannot be loaded"),
    ],
)
def test_a_slip_in_a_poison_is_named_before_anything_runs(inside, old, new, words):
    with pytest.raises(InputError, match=words):
        configuration(studies=[changed(inside, "nearest", old, new)])


def test_a_need_that_the_pipeline_does_not_make_is_named_before_anything_runs(inside):
    source = PYTHON_FILES["my_strategy.py"].replace(
        'parameters={"side": 2}', 'parameters={"side": 2}, needs=("gradients",)'
    )
    (inside / "needy_strategy.py").write_text(source)
    with pytest.raises(InputError, match=r"need 'gradients' does not exist; choose one of buckets"):
        configuration(studies=[changed(inside, "nearest", "my_strategy:white", "needy_strategy:white")])


def test_every_need_of_the_catalogue_is_described():
    described = set(re.findall(r"`(\w+)`", OWN[2].read_text()))
    assert set(need.entries()) - described == set()


# ------------------------------------------------------------------------------------------------------------- pipeline


@pytest.fixture
def pipeline(workshop):
    """Run the documented command for data, model and strategy of one's own; the training is cut to two epochs."""
    (command,) = [c for page in OWN for c in commands(page) if studies_of(c) == ["mine"]]
    (workshop / "short.yaml").write_text("recipes: {my_recipe: {epochs: 2}}\n")
    command += ["--configfile", "short.yaml"]
    # The files lie in the working directory, the Snakefile elsewhere, and nothing is on PYTHONPATH.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*more: str) -> str:
        words = [sys.executable, "-m", "poisonlab.cli", *command[1:], "--cores", "1", *more]
        done = subprocess.run(words, cwd=workshop, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        return done.stdout + done.stderr

    return run


# One test, for the run takes long.
def test_data_model_and_strategy_of_ones_own_go_through_the_pipeline(workshop, pipeline):
    said = pipeline()
    assert int(re.search(r"^total +(\d+)", said, re.MULTILINE)[1]) <= 12
    results = workshop / "results"
    rows = storage.read_table(results / "tables" / "mine" / "mine" / "robustness.parquet")
    assert set(rows["condition"]) == {"random", "near", "corner"}
    assert set(rows["model"]) == {"my_model:Net"}
    assert set(rows["epsilon"]) == {0.1, 0.2}
    # All test images of the source class, "seven", among the last 397 of scikit-learn's digits.
    pair = Dataset.load(results / "data" / "my_pair.safetensors")
    assert set(rows["n_points"]) == {int((pair.test_labels == 0).sum())}
    conditions = storage.read_table(results / "tables" / "mine" / "mine" / "conditions.parquet").set_index("condition")
    assert conditions.loc["near", "axis_value"] == 0.2
    assert conditions.loc["corner", "parameters"] == '{"side": 3}'
    caption = (results / "figures" / "mine" / "mine.txt").read_text()
    assert "5 poisons (seven → one)" in caption
    assert caption.startswith("**Of ")
    assert (results / "figures" / "mine" / "mine.svg").stat().st_size > 1000

    file = workshop / "my_model.py"
    before = file.read_text()
    try:
        file.write_text(before + "\n# A note.\n")
        assert "Nothing to be done" in pipeline("--dry-run")
        file.write_text(before.replace("64, num_classes", "32, num_classes").replace(", 64)\n", ", 32)\n"))
        ast.parse(file.read_text())
        assert "train_victims" in pipeline("--dry-run")
    finally:
        file.write_text(before)
