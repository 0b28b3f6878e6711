"""Made-up tables and arrays, as small as the figures can be drawn from."""

import json

import numpy as np
import pandas as pd

from poisonlab.analyses.class_graphs import degree_table
from poisonlab.analyses.theorems import Balls, cover, simulate
from poisonlab.datasets.dataset import Dataset, make_dataset
from poisonlab.figures import figure
from poisonlab.poisons.files import PoisonFile
from poisonlab.poisons.poison import Poison

# bucket → adversarial accuracy, fitted share and natural accuracy as [draws, repeats]
ACCURACY = {
    0.0: [[0.80, 0.70, 0.90], [0.60, 0.80, 0.70]],
    1.0: [[0.30, 0.20, 0.50], [0.40, 0.10, 0.30]],
    2.0: [[0.60, 0.50, 0.40], [0.70, 0.60, 0.50]],
}
FITTED = {
    0.0: [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]],
    1.0: [[1.0, 0.9, 0.5], [0.9, 0.9, 1.0]],
    2.0: [[0.1, 0.9, 0.2], [0.3, 0.2, 0.4]],
}
RANDOM = [[0.40, 0.50, 0.30], [0.45, 0.35, 0.40], [0.50, 0.40, 0.30], [0.35, 0.45, 0.55]]
CLEAN = [[0.90, 0.95, 0.85]]
STEPS = {0.0: (1, 6), 1.0: (7, 9), 2.0: (10, 10)}
START = {"step_size": 0.1, "random_start": False, "restarts": 1}
POINTS = {0.0: 40.0, 1.0: 90.0, 2.0: 20.0}


def tables(experiment="one", source=1, target=2, epsilons=(0.1,), lowest=0.985):
    """One experiment: its numbers are the constants above; natural accuracy is lowest at bucket 1, draw 1, repeat 2."""
    conditions, victims, robustness = [], [], []

    def add(condition, strategy, value, accuracy, fitted):
        accuracy = np.array(accuracy)
        low, high = STEPS.get(value, (np.nan, np.nan))
        conditions.append(
            {
                "study": "label_noise", "experiment": experiment, "condition": condition, "axis_value": value,
                "strategy": strategy, "budget": 10, "source_class": source, "target_class": target, "dataset": "digits",
                "model": "small_cnn", "recipe": "memorise", "precision": "float32", "n_points": POINTS.get(value, np.nan),
                "steps_low": low, "steps_high": high, "scale": "analogue",
            }
        )  # fmt: skip
        for draw_, repeat in np.ndindex(accuracy.shape):
            key = {
                "experiment": experiment,
                "condition": condition,
                "axis_value": value,
                "draw": draw_,
                "repeat": repeat,
            }
            share = np.nan if fitted is None else fitted[draw_][repeat]
            natural = lowest if (value, draw_, repeat) == (1.0, 1, 2) else 0.992 + 0.001 * repeat
            probes = {"path_share": 1 - accuracy[draw_, repeat], "line_share": accuracy[draw_, repeat] ** 2}
            victims.append(
                {**key, "fitted_share": share, "natural_accuracy": natural, "epochs": 10 + repeat, **probes}
                | {"memorised": repeat > 0}
            )
            for epsilon in epsilons:
                targeted = {"goal": "targeted", "attack_source": source, "attack_target": target, "epsilon": epsilon}
                attack = {"attack": "pgd", "norm": "linf", "steps": 40, **START, **targeted}
                value_at = accuracy[draw_, repeat] - (epsilon - 0.1)
                robustness.append({**key, **attack, "adversarial_accuracy": value_at})
        untargeted = {"attack": "fgsm", "norm": "linf", "goal": "untargeted", "epsilon": 0.1, "steps": 1, **START}
        robustness.append({**key, **untargeted, "adversarial_accuracy": 0.01})

    add("clean", "none", np.nan, CLEAN, None)
    add("random", "random", np.nan, RANDOM, np.full((4, 3), 0.95))
    for value in (2.0, 0.0, 1.0):  # out of order: the figure has to sort
        add("bucket", "path_bucket", value, ACCURACY[value], FITTED[value])
    return {
        "conditions": pd.DataFrame(conditions),
        "victims": pd.DataFrame(victims),
        "robustness": pd.DataFrame(robustness),
    }


def one_condition(experiment, source=1, target=2):
    data = tables(experiment, source, target)
    return {name: frame[frame["condition"] != "random"] for name, frame in data.items()}


def both(*parts):
    return {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}


def lengths():
    rows = [
        # seed 0, class 0: 1, 2, 2, 2, 5 → median 2; class 1: 3, 3 and three that never arrive → median beyond the end
        (0, 0, 1, 1, 1, True), (0, 0, 1, 2, 3, True), (0, 0, 1, 5, 1, True),
        (0, 1, 0, 3, 2, True), (0, 1, 0, 50, 3, False),
        # seed 1, class 0: 4, 4 → median 4; class 1: 3 → median 3
        (1, 0, 1, 4, 2, True), (1, 1, 0, 3, 1, True),
    ]  # fmt: skip
    columns = ["proxy_seed", "label", "target", "steps", "n_points", "reached"]
    return pd.DataFrame(rows, columns=columns).assign(paths="cnn")


def extremes(classes=3, near=4, far=2):
    rng = np.random.default_rng(0)
    arrays = {}
    for side, k in (("nearest", near), ("farthest", far)):
        arrays[f"{side}_images"] = rng.integers(0, 256, (classes, k, 1, 6, 5), dtype=np.uint8)
        arrays[f"{side}_steps"] = np.arange(classes * k).reshape(classes, k) + (0 if side == "nearest" else 100)
        arrays[f"{side}_issue"] = np.zeros((classes, k), dtype=bool)
    arrays["nearest_issue"][1, 2] = True
    names = {"class_names": json.dumps(["cat", "dog", "eel"]), "target_names": json.dumps(["dog", "eel", "cat"])}
    return arrays, names


def flat_toy():
    points = np.random.default_rng(1).normal(0, 1, (20, 2)).astype(np.float32)
    labels, index = np.arange(20) % 2, np.arange(20)
    points += np.where(labels, 5, -5)[:, None].astype(np.float32)
    centres = np.array([[-5.0, -5.0], [5.0, 5.0]])
    return Dataset("flat", points, labels, points, labels, ("low", "high"), None, index, index, centres)


def placed():
    def poison(radius, labels):
        images = np.array([[-5 + radius, -5], [5, 5 - radius]], dtype=np.float32)
        return Poison(3, append_images=images, append_labels=np.array(labels))

    return PoisonFile([poison(0, [1, 0]), poison(2, [1, 2])], 4, "r", [0.0, 2.0], "", {})


def example(wrong=2):
    images = np.random.default_rng(0).random((2, 1, 6, 5), dtype=np.float32)
    images[1] = images[0]
    images[1, 0, 2, 3] += 0.04
    probabilities = np.array([[0.01, 0.985, 0.005], [0.1, 0.28, 0.62]], dtype=np.float32)
    return {"images": images, "probabilities": probabilities, "labels": np.array([1, wrong])}, {}


def plane(names=1):
    """Maps of one victim each at the values 0 and 3: class 1 in the upper half at 0, everywhere at 3."""
    classes = np.ones((2, 10, 10), dtype=np.uint8)
    classes[0, :5] = 0
    one = {
        "classes": classes,
        "extent": np.tile([-2.0, 2.0, -2.0, 2.0], (2, 1)),
        "marks": np.tile([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.5]], (2, 1, 1)),
        "labels": np.tile([0, 1, 0], (2, 1)),
        "kinds": np.tile([0, 0, 1], (2, 1)),
        "axis_values": np.array([0.0, 3.0]),
    }
    return [one] * names


def sliced():
    """Slices of the three buckets of `tables()`: source class 1 in the lower half, target class 2 above."""
    classes = np.ones((3, 10, 10), dtype=np.uint8)
    classes[:, 5:] = 2
    clean = np.ones((3, 10, 10), dtype=np.uint8)
    clean[:, :, 7:] = 2
    one = {
        "classes": classes,
        "clean": clean,
        "extent": np.tile([-2.0, 2.0, -2.0, 2.0], (3, 1)),
        "marks": np.tile([[0.0, 0.5], [0.2, 1.0], [1.0, 0.0]], (3, 1, 1)),
        "labels": np.tile([2, 1, 2], (3, 1)),
        "kinds": np.tile([1, 2, 3], (3, 1)),
        "axis_values": np.array([0.0, 1.0, 2.0]),
    }
    return [one]


def runs():
    return simulate(Balls(4, 8, 0.5, 0.8, 0.2, 0.3, 0.4), 4, [0.5, 1.0], [0, 1, 2], seed=0, tested=5)


def covered():
    images = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    tables = [cover(images, np.zeros(50), [0.1, 0.3], norm, 50, 0.1, 0.05, 0) for norm in ("linf", "l2")]
    return pd.concat(tables, ignore_index=True)


def counted():
    points = np.random.default_rng(0).random((60, 4))
    spaces = {"input": (points, "linf"), "features": (points * 3, "l2")}
    return degree_table(spaces, np.arange(60) % 3, [0.02, 0.3])


def scored():
    """Scores of five points, and a plane whose left half has colour 0 and right half colour 7."""
    index = [3, 5, 8, 13, 21]
    fitted = [True, True, True, True, False]
    table = pd.DataFrame(
        {
            "index": index,
            "degree": [2, 1, 1, 0, 2],
            "colour": [0, 7, 2, 0, 1],
            "fitted": fitted,
            "score": [2, 0, 1, 0, 0],
        }
    ).assign(net=0)
    table = pd.concat([table, table.assign(net=1, score=0)], ignore_index=True)
    classes = np.zeros((1, 10, 10), dtype=np.uint16)
    classes[:, :, 5:] = 7
    x, y = np.meshgrid(np.linspace(-2, 2, 10), np.linspace(-2, 2, 10))
    marks = np.array([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    distances = np.array([[np.maximum(abs(x - a), abs(y - b)) for a, b in marks[0]]])
    maps = {"classes": classes, "extent": np.array([[-2.0, 2, -2, 2]]), "marks": marks, "labels": np.array([[0, 7, 2]])}
    return table, (
        maps | {"distances": distances},
        {"settings": json.dumps({"class": 1, "density": 0.02, "epsilon": 0.5})},
    )


def sliced_points():
    """Two conditions, two draws of three repeats: the nearer the slice, the more points are fooled."""
    key = {"study": "label_noise", "experiment": "one", "axis_value": np.nan}
    rows = [
        {**key, "condition": condition, "draw": draw_, "repeat": repeat, "space": space, "slice": part,
         "distance": 1.0 + part, "fooled": (9 - part) / 10 + 0.01 * draw_, "n_points": 9}
        for condition in ("random", "clever") for space in ("pixels", "features")
        for draw_, repeat, part in np.ndindex(2, 3, 10)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def looked_for():
    """cleanlab finds all of the flips among the first ten labels, the neighbours none."""
    key = {"study": "label_noise", "experiment": "one", "condition": "random", "axis_value": np.nan}
    rows = [
        {**key, "draw": draw_, "check": check, "rule": f"first {count}", "looked_at": count, "found": float(check == "cleanlab"),
         "hits": 10 * (check == "cleanlab")}
        for check in ("cleanlab", "neighbours") for draw_ in range(2) for count in (10, 100)
    ]  # fmt: skip
    flagged = {"check": "cleanlab", "rule": "flagged", "looked_at": 40, "found": 0.9, "hits": 9}
    return pd.DataFrame([*rows, *({**key, "draw": draw_, **flagged} for draw_ in range(2))])


def near():
    """Random flips lie nearer to class 1 than another class does, and farther from class 4."""
    own = {"dataset": "digits", "random": 2.0, "random_sd": 0.1, "medoids": 1.8}
    own |= {"random_reach": 0.3, "medoids_reach": 0.5, "best_reach": 0.6}
    return pd.DataFrame([{**own, "source_class": 1, "other": 2.5}, {**own, "source_class": 4, "other": 1.6}])


def compared_gradients():
    """The exact gradient is right in each of three problems, the historical one in none; one problem has a kink."""
    rows = [
        {"kernel": kernel, "gradient": gradient, "draw": draw_, "cosine": 1.0 if gradient == "exact" else 0.1 * draw_ - 0.2,
         "error": 0.0 if gradient == "exact" else 3.0, "kink": (kernel, draw_) == ("rbf", 2)}
        for kernel in ("linear", "rbf") for gradient in ("exact", "historical") for draw_ in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def single_points():
    """One crafted point raises the error from about 2 % to about 17 %, a flipped one to about 3 %."""
    errors = {"clean": 0.02, "flipped": 0.03, "crafted": 0.17}
    rows = [
        {"pair": pair, "draw": draw_, "what": what, "error": error + 0.01 * draw_, "seconds": 0.5 * (what == "crafted")}
        for pair in ("7-1", "9-8") for draw_ in range(3) for what, error in errors.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def three_images():
    """Grey images of 4 × 4 pixels, three of which are relabelled."""
    images = np.arange(96, dtype=np.uint8).reshape(6, 1, 4, 4)
    data = make_dataset("own", (images, np.arange(6) % 2), (images, np.arange(6) % 2), ("a", "b"))
    poison = Poison(2, relabel_index=np.array([0, 2, 4]), relabel_label=np.array([1, 1, 1]))
    return {"data": data, "poisons": PoisonFile([poison], 0, "", [None], "", {})}


def defended():
    """Two defenders at three numbers of poisons, with their λ and norms."""
    conditions, victims = [], []
    for condition, rise in (("fixed", 0.1), ("learned", 0.02)):
        for place, value in enumerate((0.0, 17.0, 34.0)):
            key = {"experiment": "one", "condition": condition, "axis_value": value}
            facts = {"source_class": 0, "target_class": 1, "steps_low": np.nan, "steps_high": np.nan}
            conditions.append(
                {**key, **facts, "strategy": "minimax", "budget": int(value), "dataset": "digits08", "model": condition,
                 "recipe": "sgd", "n_points": np.nan, "scale": "analogue"}
            )  # fmt: skip
            victims += [
                {**key, "draw": draw, "repeat": repeat, "fitted_share": 0.5,
                 "natural_accuracy": 0.98 - rise * place - 0.01 * draw - 0.001 * repeat,
                 "penalty": 0.01 * 3.0**place * (1 + draw), "log_penalty": np.log(0.01 * 3.0**place * (1 + draw)),
                 "norm": 2.0 - 0.5 * place + 0.1 * draw}
                for draw, repeat in np.ndindex(3, 2)
            ]  # fmt: skip
    return {"conditions": pd.DataFrame(conditions), "victims": pd.DataFrame(victims)}


def positions():
    """A map of three by three places, two training points, and four boundaries."""
    rows = [
        {"kind": "map", "x": x, "y": y, "without": 0.1 + 0.03 * x * y, "large": 0.1, "best": -2.0 + x + 0.1 * y}
        for x, y in np.ndindex(3, 3)
    ]
    rows += [{"kind": "train", "x": 0.5 + place, "y": 1.0, "label": place} for place in (0, 1)]
    rows.append({"kind": "poison", "x": 2.0, "y": 2.0, "label": 1})
    rows.append({"kind": "validation", "value": 64})
    for which in ("without", "large"):
        rows.append({"kind": f"clean {which}", "x": 1.0, "y": 0.2, "value": -1.0, "without": 0.1})
        rows.append({"kind": f"poisoned {which}", "x": 0.3, "y": 1.0, "value": -1.0, "without": 0.2})
    return pd.DataFrame(rows)


def histograms():
    """Three bins for each of four models."""
    return pd.DataFrame(
        [
            {
                "defender": defender,
                "poisons": poisons,
                "features": 4,
                "deviation": 0.8,
                "low": low,
                "high": low + 1.0,
                "count": count,
            }
            for defender in ("none", "learned")
            for poisons in (0, 85)
            for low, count in ((-1.5, 1), (-0.5, 2), (0.5, 1 + (poisons > 0)))
        ]
    )


def hypergradient_rows():
    """Errors that fall with the steps, for two λ; and seconds by the number of hyperparameters."""
    rows = []
    for penalty in (0.01, 1.0):
        rows.append({"method": "implicit", "penalty": penalty, "steps": 0, "seconds": 0.01})
        rows += [
            {"method": "reverse", "penalty": penalty, "steps": steps, "seconds": 1e-4 * steps,
             "points": np.exp(-penalty * steps), "log_penalty": 2 * np.exp(-penalty * steps)}
            for steps in (1, 10, 100)
        ]  # fmt: skip
    rows += [
        {
            "method": method,
            "penalty": 0.1,
            "steps": 20,
            "seconds": 1e-3 * count**power,
            "hyperparameters": 10 * count + 1,
        }
        for method, power in (("implicit", 0), ("reverse", 0), ("forward", 1))
        for count in (1, 4, 16)
    ]
    return pd.DataFrame(rows)


def ascending():
    """Two steps against two defenders, and a descent without poisons."""
    return pd.DataFrame(
        [
            {"step": step, "penalty": penalty, "poisons": poisons, "hyperiteration": number, "loss": 1 - step**number}
            for step in (0.1, 0.3)
            for penalty, poisons in ((0.01, 17), (np.nan, 17), (np.nan, 0))
            for number in range(4)
        ]
    )


def checked(victims):
    """Checks of victims, one in four of which is warned of."""
    own = victims[["experiment", "condition", "axis_value", "draw", "repeat"]].copy()
    numbers = np.arange(len(own))
    return own.assign(
        zero_gradients=0.0, random_gain=0.01 * (numbers % 3), transfer_gain=-0.1, left=0.0,
        square_gain=np.where(numbers % 4, 0.0, 0.04), seconds=1.0 + numbers,
        warnings=np.where(numbers % 4, "", "Square fools 4.0 % of the points that no gradient does"),
    )  # fmt: skip


def specifications():
    """Two parts of a claim under six combinations of two choices, one of which could not be measured."""
    rows = []
    for victims in ("all", "fitted"):
        for part in ("near", "far"):
            for number, (optimiser, batch) in enumerate((o, b) for o in ("sgd", "adam", "none") for b in ("16", "all")):
                measured = np.nan if (victims, number) == ("fitted", 5) else 0.2 * (number - 2) + 0.1 * (part == "far")
                verdict = "not run" if np.isnan(measured) else "refuted" if number < 2 else "reproduced"
                rows.append(
                    {"study": "one", "multiverse": "toys", "combination": number, "optimiser": optimiser, "batch": batch,
                     "claim": 15, "statement": f"Far points harm: {part}", "part": part, "victims": victims,
                     "measured": measured, "low": measured - 0.1, "high": measured + 0.2, "unit": "", "n": "6 × 2",
                     "verdict": "inconclusive" if number == 3 else verdict, "fitted": number / 5, "trained": 12,
                     "seconds": 1.0, "scale": "published"}
                )  # fmt: skip
    return pd.DataFrame(rows)


def beside_random(parts):
    """Experiments whose buckets are one set of points each, called medoids."""
    data = both(*parts)
    return {
        name: frame[frame["axis_value"].isna() | (frame["axis_value"] == 1.0)]
        .assign(axis_value=np.nan)
        .replace({"condition": {"bucket": "medoids"}})
        for name, frame in data.items()
    }


def inputs_of(kind):
    if kind == "flipped_images":
        return three_images()
    if kind in ("forest", "nearness"):
        found = beside_random([tables("one"), tables("two", 4, 5)])
        return found if kind == "forest" else {**found, "nearness": near()}
    whole = one_condition("one") if kind in ("by_experiment", "memorisation") else tables()
    whole = defended() if kind in ("defenders", "choices") else whole
    known = {**whole, "lengths": lengths(), "extremes": extremes(), "data": flat_toy(), "poisons": placed()} | {
        "example": example(),
        "maps": sliced() if kind == "slices" else plane(),
        "runs": runs(),
        "cover": covered(),
        "degrees": counted(),
        "scores": scored()[0],
        "points": sliced_points(),
        "detection": looked_for(),
        "positions": positions(),
        "histograms": histograms(),
        "hypergradients": hypergradient_rows(),
        "ascents": ascending(),
        "checks": checked(whole["victims"]),
        "specifications": specifications(),
        "idea": scored()[1],
        "svm_gradients": compared_gradients(),
        "svm_single_point": single_points(),
    }
    return {name: known[name] for name in figure.find(kind).needs}
