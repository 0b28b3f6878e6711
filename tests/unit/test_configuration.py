"""What the configuration's check refuses beyond its schema, and what follows from a configuration."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from poisonlab.claims import load_claims
from poisonlab.errors import InputError
from poisonlab.pipeline.configuration import check
from poisonlab.pipeline.plan import Chunk, Plan

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(base)
    for key, value in change.items():
        result[key] = (
            merged(result[key], value) if isinstance(value, dict) and isinstance(result.get(key), dict) else value
        )
    return result


def default(**change: Any) -> dict[str, Any]:
    return merged(yaml.safe_load((ROOT / "config.yaml").read_text()), change)


REFUSED = {
    "maps of many dimensions": (
        {"label_noise": {"experiments": {"toy16_third": {"maps": True}}}},
        r"toy16_third\.maps: maps need buckets and a condition .*, or a toy of 2 dimensions",
    ),
    "maps of a plane and noise": (
        {"label_noise": {"experiments": {"toy2_noise": {"maps": True}}}},
        r"toy2_noise\.maps: maps need buckets and a condition .*, or a toy of 2 dimensions",
    ),
    "probes towards a class without points": (
        {"label_noise": {"experiments": {"digits_new": {"probes": True}}}},
        r"digits_new\.probes: probes lead to training points of the flip's target, and a new class has none",
    ),
    "one training set's logits for every draw's": (
        {
            "label_noise": {
                "experiments": {
                    "toy2_plain": {
                        "features": "digits",
                        "conditions": {"hard": {"strategy": "loss_threshold", "values": [0.9]}},
                    }
                }
            }
        },
        r"toy2_plain\.conditions\.hard: strategy 'loss_threshold' needs logits of one training set",
    ),
    "features of nothing": (
        {"label_noise": {"experiments": {"digits_graphs": {"features": None}}}},
        r"strategy 'class_graph_features' needs features; name paths whose proxy gives them: .*digits_graphs\.features",
    ),
    "features of other data": (
        {"label_noise": {"experiments": {"digits_graphs": {"features": "digits01"}}}},
        r"digits_graphs\.features are of another data set than 'digits'",
    ),
    "cover of nothing": (
        {"covers": {"digits": {"dataset": "faces"}}},
        r"covers\.digits\.dataset names 'faces', which is not in datasets",
    ),
    "figure of an unknown bound": (
        {"label_noise": {"figures": {"theorems": {"bound": "digits"}}}},
        r"figures\.theorems\.bound names 'digits', which is not in simulations",
    ),
    "graphs of nothing": (
        {"graphs": {"digits": {"paths": "faces"}}},
        r"graphs\.digits\.paths names 'faces', which is not in paths",
    ),
    "a colouring of a class that is not there": (
        {"graphs": {"digits": {"colouring": {"class": 11}}}},
        r"graphs\.digits\.colouring\.class: class 11 is not in 'digits' \(0 … 9\)",
    ),
    "colours of nothing": (
        {"label_noise": {"experiments": {"digits_colours": {"colouring": None}}}},
        r"digits_colours needs colours; name graphs that have a colouring",
    ),
    "colours that do not exist": (
        {"graphs": {"digits": {"colouring": None}}},
        r"digits_colours\.colouring: graphs\.digits has no colouring; add graphs\.digits\.colouring",
    ),
    "colours of another class": (
        {"label_noise": {"experiments": {"digits_colours": {"flip": {"source": 3, "target": 4}}}}},
        r"colouring is of class 5 of 'digits', the flip's source is 3 of 'digits'; choose the same",
    ),
    "a figure of colours that do not exist": (
        {
            "graphs": {"plain": {"paths": "digits", "densities": [0.1]}},
            "label_noise": {"figures": {"fig_6_1": {"graphs": "plain"}}},
        },
        r"fig_6_1\.graphs: graphs\.plain has no colouring to show",
    ),
    "logits of nothing": (
        {"label_noise": {"experiments": {"digits01_0to1": {"features": None}}}},
        r"strategy 'loss_threshold' needs logits; name paths whose proxy gives them",
    ),
    "an option that the figure does not take": (
        {"label_noise": {"figures": {"fig_4_8": {"options": {"epsilom": 0.1}}}}},
        r"figures\.fig_4_8\.options: unknown \['epsilom'\], kind '\w+' takes \[.*'epsilon'.*\]; remove or correct them",
    ),
    "an example of a class that is not there": (
        {"paths": {"digits": {"example": {"source": 12}}}},
        r"paths\.digits\.example\.source: class 12 is not in 'digits' \(0 … 9\)",
    ),
    "maps of buckets that no condition takes": (
        {"label_noise": {"experiments": {"digits_1to2": {"conditions": {"bucket": {"strategy": "random"}}}}}},
        r"digits_1to2\.maps: maps need buckets and a condition that takes its points from them",
    ),
    "a share above one": (
        {"simulations": {"balls": {"noise": 1.5}}},
        r"simulations\.balls\.noise is 1\.5, allowed is at most 1",
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_one_line(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        check(default(**change), SCHEMA)
    assert "\n" not in str(error.value)


def test_clean_victims_are_not_probed_and_toys_that_are_looked_at_are_not_trained() -> None:
    plan = Plan(default(), ROOT)
    probed = {Path(file).parts[-2] for file in plan.chunk_files("label_noise", "digits_1to2", "probes")}
    assert probed == {"bucket+random"}
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


def test_of_a_chunk_only_what_the_archive_lacks_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ("label_noise", "digits_1to2")
    jobs = {"draws": 2, "repeats": 8, "draws_per_job": 2, "repeats_per_job": 8}
    plan = Plan(default(skip_archived=True, label_noise={"experiments": {"digits_1to2": jobs}}), ROOT)
    values = plan.axis_values(*key, "bucket")
    there = {("random", None, draw, repeat) for draw in range(2) for repeat in range(4)}
    there |= {("bucket", value, 0, repeat) for value in values for repeat in range(8)}
    there |= {("bucket", value, 1, repeat) for value in values[1:] for repeat in range(8)}
    monkeypatch.setitem(vars(plan), "archived", {key: there | {("clean", None, 0, repeat) for repeat in range(8)}})
    assert plan.chunks(*key, "random") == [Chunk(range(2), range(4, 8))]
    assert plan.chunks(*key, "clean") == []
    # Without the buckets of the archived victims, those that are cut here are others.
    assert plan.chunks(*key, "bucket") == [Chunk(range(2), range(8))]
    assert plan.bucket_source(*key) == "results/paths/digits/proxy-0.parquet"
    buckets = tmp_path / "buckets.csv.gz"
    buckets.touch()
    monkeypatch.setattr(Plan, "archived_buckets", lambda *_: buckets)
    assert plan.chunks(*key, "bucket") == [Chunk(range(1, 2), range(8))]
    assert plan.bucket_source(*key) == str(buckets)
    assert Plan(default(), ROOT).bucket_source(*key) == "results/paths/digits/proxy-0.parquet"


def test_maps_are_drawn_of_the_buckets_where_there_are_some() -> None:
    appended = {"a": {"strategy": "at_distance", "values": [1]}}  # before "bucket" in every order
    change = {"experiments": {"digits_1to2": {"conditions": appended}}}
    plan = Plan(default(label_noise=change), ROOT)
    assert plan.first_chunk("label_noise", "digits_1to2")["condition"] == "bucket"


def test_a_colouring_has_a_net_for_each_draw_of_its_poisons() -> None:
    assert Plan(default(), ROOT).colouring_settings("digits")["nets"] == 3
    assert Plan(default(draws=5), ROOT).colouring_settings("digits")["nets"] == 5
    assert Plan(default(label_noise={"run": ["digits_4to5"]}), ROOT).colouring_settings("digits")["nets"] == 3
    assert Plan(default(only_finished=True), ROOT).colouring_settings("digits")["nets"] == 3


def test_a_figure_may_have_a_source_and_a_note_of_its_own() -> None:
    plan = Plan(default(label_noise={"figures": {"fig_3_1": {"source": "a book", "note": "And more."}}}), ROOT)
    sources = {figure["name"]: figure["source"] for figure in plan.page_figures("label_noise")}
    assert (sources["fig_3_1"], sources["fig_2_1"]) == ("a book", "label-noise thesis, section 2.3, Fig. 2.1")
    assert plan.figure_settings("label_noise", "fig_3_1")["note"] == "And more."
    assert plan.figure_settings("label_noise", "fig_2_1")["note"] == ""


def test_every_registered_claim_stands_below_a_figure() -> None:
    figures = default()["label_noise"]["figures"].values()
    listed = {claim for figure in figures for claim in figure.get("claims", [])}
    assert listed == {claim.id for claim in load_claims(ROOT / "studies" / "label_noise" / "claims.yaml")}


@pytest.mark.parametrize(
    "claim", load_claims(ROOT / "studies" / "label_noise" / "claims.yaml"), ids=lambda claim: f"{claim.id}-{claim.kind}"
)
def test_the_published_configuration_has_the_size_that_each_claim_registers(claim):
    plan = Plan(default(**yaml.safe_load((ROOT / "config" / "published.yaml").read_text())), ROOT)
    sizes = {strategy: least for strategy, least in claim.minimum.items() if isinstance(least, list | tuple)}
    for table in {table for part in claim.parts for table in part.judged_on.tables if sizes}:
        study, _, name = table.partition("/")
        conditions = plan.experiment(study, name)["conditions"]
        for strategy, (draws, repeats) in sizes.items():
            found = [key for key, entry in conditions.items() if strategy in (entry["strategy"], key)]
            assert found, (table, strategy)
            for condition in found:
                chunks = plan.chunks(study, name, condition)
                planned = [len({n for one in chunks for n in getattr(one, axis)}) for axis in ("draws", "repeats")]
                assert planned[0] >= draws, (table, condition, planned)
                assert planned[1] >= repeats, (table, condition, planned)
