"""Data sets of features: what a net that never saw the points makes of them, and where that is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poisonlab.datasets.dataset import Dataset, make_dataset
from poisonlab.datasets.draws import of_draw
from poisonlab.datasets.prepare import prepare
from poisonlab.datasets.scaling import standardised
from poisonlab.errors import InputError
from poisonlab.pipeline.configuration import check
from poisonlab.pipeline.plan import Plan
from poisonlab.pipeline.studies import merged, read_yaml
from poisonlab.poisons.crafting import craft
from poisonlab.poisons.poison import apply
from poisonlab.seeds import seed
from poisonlab.victims.engines import train
from poisonlab.victims.proxies import Proxy, featured
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob

ROOT = Path(__file__).parents[2]


def points(width: int, seeds: int = 3) -> Dataset:
    """40 training and 10 test points of two classes in [0, 1]."""
    generator = np.random.default_rng(seeds)
    train, test = (generator.random((count, width), dtype=np.float32) for count in (40, 10))
    return make_dataset("points", (train, np.arange(40) % 2), (test, np.arange(10) % 2), ("a", "b"))


def net(inputs: int, hidden: int, classes: int = 3) -> Proxy:
    """An MLP with one hidden layer, whose last unit is dead: its bias is far below zero."""
    generator = np.random.default_rng(1)
    shapes = {"layers.0.weight": (hidden, inputs), "layers.0.bias": (hidden,),
              "layers.1.weight": (classes, hidden), "layers.1.bias": (classes,)}  # fmt: skip
    state = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    state["layers.0.bias"][-1] = -100
    return Proxy({"model": "mlp", "width": hidden, "depth": 1}, (inputs,), classes, 0, 1.0, state)


# ------------------------------------------------------------------------------------------------------------- the data


def test_features_are_the_inputs_of_the_last_layer_standardised_by_the_training_points():
    images, proxy = points(5), net(5, 7)
    found = featured("wide", proxy, images, "cpu")
    weight, bias = (proxy.parameters[f"layers.0.{part}"].astype(np.float64) for part in ("weight", "bias"))
    train, test = (np.maximum(own @ weight.T + bias, 0) for own in (images.train_images, images.test_images))
    spread = np.where(train.std(0) > 0, train.std(0), 1)
    assert train[:, -1].max() == 0  # the dead unit
    # Sums of six float32 products of size 1 are off by 1e-6 at most, divided by spreads of about a half.
    np.testing.assert_allclose(found.train_images, (train - train.mean(0)) / spread, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.test_images, (test - train.mean(0)) / spread, rtol=0, atol=1e-5)
    assert (found.name, found.box, found.class_names) == ("wide", None, images.class_names)
    assert (found.train_images.dtype, found.test_images.dtype) == (np.float32, np.float32)
    for key in ("train_labels", "test_labels", "train_index", "test_index"):
        np.testing.assert_array_equal(getattr(found, key), getattr(images, key))


def test_a_proxy_of_points_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"'wide' is of points of shape \(4,\).*takes \(5,\); change datasets\.wide"):
        featured("wide", net(5, 7), points(4), "cpu")


def test_pixels_are_standardised_as_the_floats_that_they_mean():
    digits = prepare("digits01", {"source": "digits", "classes": [0, 1]})
    eight_bit = make_dataset(
        "bytes",
        (np.round(digits.train_images * 240).astype(np.uint8), digits.train_labels),
        (np.round(digits.test_images * 240).astype(np.uint8), digits.test_labels),
        digits.class_names,
    )
    # Sixteenths times 240 are whole numbers: the pixels differ by a factor, which the scale takes away.
    np.testing.assert_allclose(
        standardised(eight_bit).train_images, standardised(digits).train_images, rtol=0, atol=1e-5
    )  # float32 of numbers up to 15


# --------------------------------------------------------------------------------------------- the user's own wide features


def write_features(path: Path, width: int = 2048) -> dict[str, np.ndarray]:
    """80 training and 20 test points, both classes normal, of means that a few features tell apart."""
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 80), ("test", 20)):
        labels = np.arange(count) % 2
        features = generator.gamma(2.0, size=(count, width))
        features[:, :40] += 3 * labels[:, None]
        arrays |= {f"{split}_images": features.astype(np.float32), f"{split}_labels": labels}
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return arrays


def test_an_npz_of_features_beyond_1_needs_to_be_standardised(tmp_path: Path):
    arrays, path = write_features(tmp_path / "wide.npz", 30), tmp_path / "wide.npz"
    with pytest.raises(InputError, match=r"train_images ranges from .* set standardise: true"):
        prepare("wide", {"source": "npz", "path": str(path)})
    found = prepare("wide", {"source": "npz", "path": str(path), "standardise": True})
    assert found.box is None
    # The largest of 80 values lies nine standard deviations off at most; float32 has seven digits.
    np.testing.assert_allclose(found.train_images.mean(0, dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(found.train_images.std(0, dtype=np.float64), 1, atol=1e-6)
    shift, scale = arrays["train_images"].mean(0), arrays["train_images"].std(0)
    np.testing.assert_allclose(found.test_images * scale + shift, arrays["test_images"], rtol=1e-5, atol=1e-5)
    arrays["train_images"][0, 0] = 1e12
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"to 1e\+12; float images must be in \[-1e\+09, 1e\+09\]; scale them"):
        prepare("wide", {"source": "npz", "path": str(path), "standardise": True})


def published(**datasets: Any) -> Plan:
    config = merged(read_yaml(ROOT / "config.yaml"), {"studies": ["regularization"], "published": True})
    return Plan(merged(config, {"datasets": datasets}), ROOT)


def test_a_file_of_2048_features_takes_the_place_of_dogfrog_and_is_attacked(tmp_path: Path):
    path = tmp_path / "dog_fish.npz"
    write_features(path)
    page = (ROOT / "studies" / "regularization" / "README.md").read_text()
    (line,) = [line for line in page.splitlines() if "dog_fish.npz," in line]
    assert "standardise: true, of: null, proxy: null" in line
    own = {"source": "npz", "path": str(path), "standardise": True, "of": None, "proxy": None}
    plan = published(dogfrog=own)
    assert plan.data_file("dogfrog") == "results/data/dogfrog.safetensors"
    assert plan.data_inputs("dogfrog") == [str(path)]
    settings = plan.poison_settings("regularization", "dogfrog_small")
    divided = of_draw(prepare("dogfrog", plan.config["datasets"]["dogfrog"]), {"split": 0.25}, 0)
    short = {
        **settings,
        "parameters": {**settings["parameters"], "hyperiterations": 3},
        "sweep": "budget",
        "values": [6],
    }
    (poison,) = craft(divided, short, {}, 0, "cpu")
    low, high = divided.train_images.min(0), divided.train_images.max(0)
    assert poison.append_images.shape == (6, 2048)
    # Features have no box: points move in the range of the training points; they are clipped in double precision.
    assert ((poison.append_images >= low - 1e-6) & (poison.append_images <= high + 1e-6)).all()
    variant = plan.variants("regularization", "dogfrog")["features_small"]
    accuracy = {}
    for name, one in (("clean", None), ("poisoned", poison)):
        training_set = apply(one or type(poison)(2), divided)
        job = VictimJob(name, training_set, seed("victim", repeat=0))
        recipe = Recipe.of(variant.training["recipe"], "recipe")
        ((_, victim),) = train([job], variant.training["model"], recipe, "float32", "cpu", lambda line: None)
        weight = victim.parameters["weight"]
        scores = divided.test_images @ weight[0, :-1] + weight[0, -1]
        accuracy[name] = np.mean((scores > 0) == divided.test_labels)
    assert accuracy["clean"] > 0.9 > accuracy["poisoned"]  # 40 telling features; a tenth of the points is wrong


# ------------------------------------------------------------------------------------------------------------ the plan

OTHERS = {"source": "digits", "classes": [2, 3, 4, 5, 6, 7, 8, 9]}
PROXY = {"dataset": "others", "model": "mlp", "recipe": "digits"}
FEATURES = {"source": "features", "of": "digits01", "proxy": "others"}


def planned(datasets: dict[str, Any] | None = None, **proxies: Any) -> dict[str, Any]:
    config = {
        "datasets": {"others": OTHERS, "wide": FEATURES, **(datasets or {})},
        "proxies": {"others": PROXY, **proxies},
    }
    return merged(read_yaml(ROOT / "config.yaml"), {"studies": ["label_noise"], **config})


def test_features_are_planned_from_the_images_and_the_proxy():
    plan = Plan(planned(), ROOT)
    assert plan.data_file("wide") == "results/features/wide.safetensors"
    assert plan.feature_inputs("wide") == {
        "data": "results/data/digits01.safetensors",
        "proxy": "results/proxies/others.safetensors",
    }
    assert plan.feature_modules("wide") == ["poisonlab.models.networks:MLP"]


def derived(of: str, proxy: str) -> dict[str, str]:
    return {"source": "features", "of": of, "proxy": proxy}


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no such data set": ({"wide": derived("nowhere", "others")}, {}, r"datasets\.wide\.of names 'nowhere'"),
    "no such proxy": ({"wide": derived("digits01", "nobody")}, {}, r"datasets\.wide\.proxy names 'nobody'"),
    "no proxy": ({"wide": {"source": "features", "of": "digits01"}}, {}, r"needs a name; set datasets\.wide\.proxy"),
    "classes": ({"wide": {**FEATURES, "classes": [0, 1]}}, {}, r"unknown key 'classes'; source 'features' takes of, "),
    "itself": ({"wide": derived("wide", "others")}, {}, "made of 'wide' itself"),
    "a proxy of itself": ({}, {"others": {**PROXY, "dataset": "wide"}}, "made of 'wide' itself"),
    "two of each other": ({"wide": derived("more", "others"), "more": derived("wide", "others")}, {}, "itself"),
    "a cycle further on": (
        {"first": derived("wide", "others"), "wide": derived("more", "others"), "more": derived("wide", "others")},
        {},
        "itself",
    ),
    "the same data set": ({}, {"others": {**PROXY, "dataset": "digits01"}}, "trained on points of 'digits01'"),
    "all classes": ({}, {"others": {**PROXY, "dataset": "digits"}}, "knows by heart; name a proxy of other classes"),
    "one class by its name": ({"others": {"source": "digits", "classes": ["1", "2"]}}, {}, "knows by heart"),
    "features of them": (
        {"twice": derived("digits01", "again")},
        {"again": {**PROXY, "dataset": "wide"}},
        r"datasets\.twice\.proxy: 'again' is trained on points of 'digits01'",
    ),
    "another shape": ({}, {"others": {**PROXY, "dataset": "mnist"}}, r"\(1, 8, 8\), those of its proxy \(1, 28, 28\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_features_that_cannot_be_made_or_would_be_known_by_heart_are_refused(case: str):
    datasets, proxies, line = REFUSED[case]
    check(planned(), ROOT)
    with pytest.raises(InputError, match=line):
        check(planned(datasets, **proxies), ROOT)


def test_features_may_be_of_other_points_of_features(tmp_path: Path):
    again = {"middle": {"source": "digits", "classes": [2, 3, 4]}, "last": {"source": "digits", "classes": [5, 6]}}
    chain = {
        "deep": derived("middle", "last"),
        "deeper": derived("deep", "deep_last"),
        "last_wide": derived("last", "middle"),
    }
    proxies = {name: {**PROXY, "dataset": data} for name, data in (("last", "last"), ("middle", "middle"))}
    plan = Plan(planned({**again, **chain}, **proxies, deep_last={**PROXY, "dataset": "last_wide"}), ROOT)
    assert plan.feature_inputs("deeper") == {
        "data": "results/features/deep.safetensors",
        "proxy": "results/proxies/deep_last.safetensors",
    }
