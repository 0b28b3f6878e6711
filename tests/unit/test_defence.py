"""The study of defences: valid in both sizes, its figures say what the tables say, its nets are those of the papers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from figure_inputs import inputs_of
from torch import nn

from poisonlab import models
from poisonlab.claims.registration import load_claims
from poisonlab.errors import InputError
from poisonlab.figures import draw
from poisonlab.figures.captions import radius_text
from poisonlab.pipeline.plan import Plan
from poisonlab.pipeline.studies import merged, read_yaml

REPOSITORY = Path(__file__).resolve().parents[2]
STUDY = REPOSITORY / "studies" / "defence"


def plan(published: bool) -> Plan:
    chosen = {"studies": ["defence"], "published": published}
    return Plan(merged(read_yaml(REPOSITORY / "config.yaml"), chosen), REPOSITORY)


@pytest.mark.parametrize("published", [False, True])
def test_every_victim_of_the_study_can_be_planned(published):
    own = plan(published)
    for study, experiment in own.experiments:
        for variant, chunk in own.jobs(study, experiment):
            settings = own.job_settings(study, experiment, variant, chunk.name)
            assert settings["recipe"]["batch_size"] > 0
            assert own.variant_modules(study, experiment, variant)
        if own.experiment(study, experiment)["checks"]:
            settings = own.check_settings(study, experiment)
            files, poisons = own.checked_victims(study, experiment), own.check_poisons(study, experiment)
            assert len(files) == len(settings["jobs"])
            assert len(poisons) == sum(len(job["conditions"]) * len(job["draws"]) for job in settings["jobs"])


def test_every_claim_selects_conditions_attacks_and_radii_that_the_published_run_has():
    own = plan(published=True)
    claims = load_claims(STUDY / "claims.yaml")
    assert sorted({claim.id for claim in claims}) == [34, 35, 36, 37, 49, 50, 51, 501, 502, 503, 504, 505]
    for claim in claims:
        (experiment,) = {key.partition("/")[2] for part in claim.parts for key in part.judged_on.tables}
        entry, conditions = own.experiment("defence", experiment), own.conditions("defence", experiment)
        for one in (*claim.of, *claim.than):
            assert one.condition in conditions, claim.statement
            attack = one.attack or entry["headline"]["attack"]
            assert attack in entry["attacks"], claim.statement
            radius = one.epsilon or entry["headline"]["epsilon"]
            assert radius in own.config["attacks"][attack]["epsilon"], claim.statement
            if one.value is not None:
                assert one.value in own.axis("defence", conditions[one.condition])[1]
        sizes = {name: (entry["draws"], entry["repeats"]) for name in conditions}
        assert all(sizes[name] >= tuple(least) for name, least in claim.minimum.items()), claim.statement


def test_checks_need_a_proxy_of_the_same_data_and_a_radius_in_linf():
    config = merged(read_yaml(REPOSITORY / "config.yaml"), {"studies": ["defence"]})
    for change, message in (
        ({"checks": "nobody"}, "checks names 'nobody', which is not in proxies"),
        ({"headline": None}, "robustness is checked at the headline's radius in l∞"),
    ):
        with pytest.raises(InputError, match=message):
            Plan(merged(config, {"defence": {"experiments": {"digits": change}}}), REPOSITORY)


# ------------------------------------------------------------------------------------------------------------ figures


def texts(drawn) -> list[str]:
    return [text.get_text() for panel in drawn.axes for text in panel.texts]


def test_the_matrix_holds_the_means_of_poisons_by_victims():
    inputs = inputs_of("matrix")
    drawn, caption = draw("matrix", inputs)
    robustness = inputs["robustness"]
    own = robustness[(robustness["attack"] == "pgd") & (robustness["condition"] == "random")]["adversarial_accuracy"]
    assert any(text.startswith(f"{own.mean():.3f}\n± ") for text in texts(drawn))
    assert "**Most adversarial accuracy is left by clean, 0.90" in caption


def test_victims_of_several_kinds_stand_in_columns_of_their_own_what_hurts_most_first():
    inputs = {name: table.copy() for name, table in inputs_of("matrix").items()}
    for name in inputs:
        rows = inputs[name]
        kept = rows[rows["condition"].isin(["clean", "random"])]
        both = [kept.assign(condition=kept["condition"] + f"@{victim}") for victim in ("plain", "hardened")]
        inputs[name] = pd.concat(both, ignore_index=True)
    robustness = inputs["robustness"]
    robustness.loc[robustness["condition"].str.endswith("@plain"), "adversarial_accuracy"] -= 0.05
    drawn, _ = draw("matrix", inputs, {"labels": {"hardened": "PGD"}})
    panel = drawn.axes[0]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["plain", "PGD"]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["random", "clean"]


def test_accuracy_against_the_radius_begins_with_natural_accuracy():
    inputs = inputs_of("radii")
    drawn, _ = draw("radii", inputs)
    victims = inputs["victims"]
    (panel,) = drawn.axes
    first = next(line for line in panel.lines if line.get_label() == "random")
    assert first.get_xdata()[0] == 0
    own = victims.loc[victims["condition"] == "random", "natural_accuracy"].mean()
    assert first.get_ydata()[0] == pytest.approx(own)


def test_radii_of_several_attacks_join_one_line_of_each_condition_that_is_asked_for():
    inputs = inputs_of("radii")
    known = inputs["robustness"].query("attack == 'pgd'")
    further = known[known["condition"] != "clean"].assign(attack="pgd_radii", epsilon=0.05)
    further["adversarial_accuracy"] += 0.04
    inputs["robustness"] = pd.concat([inputs["robustness"], further], ignore_index=True)
    headline = {"attack": "pgd", "epsilon": 0.1, "column": "adversarial_accuracy"}
    options = {
        "attack": ["pgd_radii", "pgd"], "conditions": ["random", "clean"], "headlines": {"one": headline}
    }  # fmt: skip
    drawn, caption = draw("radii", inputs, options)
    lines = {line.get_label(): line.get_xydata() for line in drawn.axes[0].lines}
    assert list(lines) == ["random", "clean"]
    assert lines["clean"][:, 0].tolist() == [0, 0.1]
    assert lines["random"][:, 0].tolist() == [0, 0.05, 0.1]
    assert lines["random"][1, 1] == pytest.approx(lines["random"][2, 1] + 0.04)
    assert caption.startswith(f"**At ε = 0.1: most accuracy is left by clean, {lines['clean'][1, 1]:.2f}")
    with pytest.raises(InputError, match=r"option conditions names \['gone'\]"):
        draw("radii", inputs, {**options, "conditions": ["gone"]})


def test_of_a_sweep_the_value_that_is_asked_for_is_drawn_beside_what_has_none():
    inputs = inputs_of("radii")
    swept = inputs["conditions"].query("axis_value.notna() and axis_value != ''")
    value = float(swept["axis_value"].iloc[0])
    whole, chosen = (
        {line.get_label() for line in draw("radii", inputs, options)[0].axes[0].lines}
        for options in ({}, {"value": value})
    )
    left_out = {
        f"{row['condition']} {row['axis_value']:g}" for _, row in swept.iterrows() if row["axis_value"] != value
    }
    assert whole - chosen
    assert whole - chosen == {label for label in whole if label in left_out}
    assert "random" in chosen


def test_a_published_value_of_nobody_is_refused_and_one_that_is_not_known_is_left_out():
    inputs = inputs_of("accuracies")
    with pytest.raises(InputError, match=r"option published names \['nobody'\]"):
        draw("accuracies", inputs, {"published": {"nobody": [0.5]}})
    drawn, _ = draw("accuracies", inputs, {"published": {"random": [None, 0.4]}})
    squares = [line for panel in drawn.axes for line in panel.lines if line.get_gid() == "published"]
    assert [float(np.ravel(line.get_xdata())[0]) for line in squares] == [0.4]


def test_a_caption_says_in_words_what_the_checks_warn_of():
    inputs = inputs_of("checked")
    _, caption = draw("checked", inputs)
    victims = inputs["checks"]["warnings"]
    assert (
        f"Of {len(victims)} victims the accuracy under gradient attacks of {(victims != '').sum()} cannot be" in caption
    )
    assert "the first because Square fools 4.0 % of the points that no gradient does" in caption
    calm = {**inputs, "checks": inputs["checks"].assign(warnings="")}
    assert draw("checked", calm)[1].startswith(f"**Of {len(victims)} victims there is nothing to warn of.**")


def test_seconds_that_are_not_known_are_named():
    inputs = inputs_of("against_seconds")
    unknown = {**inputs, "checks": inputs["checks"].assign(seconds=np.nan)}
    with pytest.raises(InputError, match="knows its seconds of training"):
        draw("against_seconds", unknown)


# --------------------------------------------------------------------------------------------------------------- nets


def test_the_preactivated_net_has_the_parameters_of_the_published_code_and_an_identity_on_its_shortcuts():
    net = models.build("preact_resnet", (3, 32, 32), 10, seed=0).eval()
    # 11 171 146 of the widespread code and the last normalisation's 1 024, which Wong, Rice & Kolter have.
    assert sum(p.numel() for p in net.parameters()) == 11_171_146 + 1_024
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for block in net.layers[1:3]:
            nn.init.zeros_(block.again.weight)
        stem = net.layers[0](images)
        assert torch.equal(net.layers[2](net.layers[1](stem)), stem)


def test_a_radius_of_levels_of_a_byte_is_said_as_such():
    assert [radius_text(radius) for radius in (8 / 255, 0.1, 0.2, 0.004, 1 / 255)] == [
        "8/255",
        "0.1",
        "0.2",
        "0.004",
        "1/255",
    ]
