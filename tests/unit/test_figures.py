"""What is drawn is what the tables say, and the captions state their n."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from figure_inputs import (
    ACCURACY,
    CLEAN,
    RANDOM,
    STEPS,
    beside_random,
    both,
    counted,
    covered,
    example,
    extremes,
    flat_toy,
    lengths,
    near,
    one_condition,
    placed,
    plane,
    runs,
    scored,
    sliced,
    tables,
)
from matplotlib.colors import same_color
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from poisonlab.documents.comparison import compare, judge
from poisonlab.errors import InputError
from poisonlab.figures import draw, style
from poisonlab.figures.captions import describe, method, value_text
from poisonlab.results.query import Query
from poisonlab.statistics import grid, mean_interval, paired_difference, share_interval

EXACT = {
    "rtol": 0,
    "atol": 1e-12,
}  # the same float64 arithmetic on both sides; only a unit in the last place may differ


def by_gid(panel, gid):
    found = [artist for artist in panel.get_children() if artist.get_gid() == gid]
    assert found, f"nothing with gid {gid}"
    return found


def interval_of(panel, gid):
    """Lower and upper ends of the vertical lines of one curve, [buckets, 2]."""
    return np.array([path.vertices[:, 1] for path in by_gid(panel, gid)[0].get_paths()])


def victims_of(data, condition, value=None):
    rows = data["robustness"]
    rows = rows[(rows["condition"] == condition) & (rows["goal"] == "targeted")]
    return rows if value is None else rows[rows["axis_value"] == value]


# ---- the tables -----------------------------------------------------------------------


def test_a_table_that_lacks_a_column_is_named_with_the_column():
    data = tables()
    with pytest.raises(InputError, match=r"'victims' lacks the columns \['fitted_share'\]"):
        draw("bucket_curve", {**data, "victims": data["victims"].drop(columns="fitted_share")})


def test_an_unknown_figure_and_an_unknown_option_are_named():
    with pytest.raises(InputError, match=r"figure 'bucket_curves' does not exist; choose one of .*bucket_curve"):
        draw("bucket_curves", {})
    with pytest.raises(InputError, match=r"'bucket_curve' has no parameters \['epsilom'\]"):
        draw("bucket_curve", tables(), {"epsilom": 0.1})


def test_no_text_of_a_bucket_figure_is_clipped_by_the_page():
    figure, _ = draw("bucket_curve", both(tables(), tables("two", 4, 5), tables("three", 9, 0)))
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    for panel in figure.axes:
        box = panel.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height


# ---- adversarial accuracy by bucket --------------------------------------------------


def test_the_line_of_a_bucket_curve_is_the_mean_over_all_victims_with_its_interval():
    data = tables()
    figure, _ = draw("bucket_curve", data)
    panel = figure.axes[0]
    expected = [
        mean_interval(grid(victims_of(data, "bucket", value), "adversarial_accuracy"), bounds=(0, 1)) for value in STEPS
    ]
    line = by_gid(panel, "all")[0]
    np.testing.assert_allclose(line.get_xdata(), [0, 1, 2], **EXACT)
    np.testing.assert_allclose(line.get_ydata(), [0.75, 0.30, 0.55], **EXACT)  # by hand
    np.testing.assert_allclose(interval_of(panel, "all-interval"), [(e.low, e.high) for e in expected], **EXACT)


def test_every_victim_of_a_bucket_is_a_dot_left_of_its_mean():
    panel = draw("bucket_curve", tables())[0].axes[0]
    dots = by_gid(panel, "victims")
    for position, value in enumerate(STEPS):
        np.testing.assert_allclose(np.sort(dots[position].get_ydata()), np.sort(np.ravel(ACCURACY[value])), **EXACT)
        assert (np.abs(dots[position].get_xdata() - position) < 0.5).all()


def test_the_second_curve_has_only_victims_that_fitted_their_poisons_and_at_least_two_of_them():
    data = tables()
    panel, share = draw("bucket_curve", data)[0].axes[:2]
    line = by_gid(panel, "fitted")[0]
    five = victims_of(data, "bucket", 1.0)
    five = five[~((five["draw"] == 0) & (five["repeat"] == 2))]  # the one that fitted half of its poisons
    expected = mean_interval(grid(five, "adversarial_accuracy"), bounds=(0, 1))
    np.testing.assert_allclose(line.get_ydata()[:2], [0.75, expected.value], **EXACT)
    np.testing.assert_allclose(interval_of(panel, "fitted-interval")[1], [expected.low, expected.high], **EXACT)
    assert np.isnan(line.get_ydata()[2])  # a single fitted victim
    assert same_color(line.get_markerfacecolor(), "white")
    assert (line.get_xdata() > np.arange(3)).all()
    assert [text.get_text() for text in by_gid(share, "count")] == ["6", "5", "1"]


def test_a_lower_bar_for_fitted_lets_more_victims_into_the_second_curve():
    panel, share = draw("bucket_curve", tables(), {"fitted_at_least": 0.2})[0].axes[:2]
    assert [text.get_text() for text in by_gid(share, "count")] == ["6", "6", "5"]
    assert np.isfinite(by_gid(panel, "fitted")[0].get_ydata()).all()


def test_the_baselines_are_the_means_of_random_and_clean_victims_with_their_intervals_as_bands():
    data = tables()
    panel = draw("bucket_curve", data)[0].axes[0]
    for condition, values in (("random", RANDOM), ("clean", CLEAN)):
        expected = mean_interval(grid(victims_of(data, condition), "adversarial_accuracy"), bounds=(0, 1))
        assert by_gid(panel, condition)[0].get_ydata()[0] == pytest.approx(np.mean(values), abs=1e-12)
        box = by_gid(panel, f"{condition}-interval")[0].get_window_extent().transformed(panel.transData.inverted())
        # through pixels and back, which costs a few units in the last place of some hundred pixels
        assert (box.y0, box.y1) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert by_gid(panel, "clean")[0].is_dashed()
    assert "random-fitted" not in [line.get_gid() for line in panel.lines]  # all of them fitted their poisons


def test_random_victims_that_fitted_their_poisons_have_a_line_of_their_own_where_not_all_did():
    data = tables()
    random = data["victims"]["condition"] == "random"
    data["victims"].loc[random & (data["victims"]["repeat"] == 0), "fitted_share"] = 0.5
    panel = draw("bucket_curve", data)[0].axes[0]
    assert by_gid(panel, "random")[0].get_ydata()[0] == pytest.approx(np.mean(RANDOM), abs=1e-12)
    assert by_gid(panel, "random-fitted")[0].get_ydata()[0] == pytest.approx(
        np.mean(np.array(RANDOM)[:, 1:]), abs=1e-12
    )


def test_a_band_that_would_cover_every_accuracy_is_not_drawn():
    data = tables()
    random = (data["victims"]["condition"] == "random") & (data["victims"]["draw"] > 1)
    data["victims"] = data["victims"][~random]
    wild = data["robustness"]["condition"] == "random"
    data["robustness"].loc[wild, "adversarial_accuracy"] = data["robustness"].loc[wild, "draw"].astype(float)
    panel = draw("bucket_curve", data)[0].axes[0]
    assert by_gid(panel, "random")[0].get_ydata()[0] == pytest.approx(0.5)
    assert "random-interval" not in [artist.get_gid() for artist in panel.get_children()]


def test_the_panel_below_shows_the_share_of_fitted_poisons_and_the_last_one_the_points():
    figure, _ = draw("bucket_curve", tables())
    _, share, points = figure.axes
    np.testing.assert_allclose(by_gid(share, "share")[0].get_ydata(), [1.0, 5.2 / 6, 2.1 / 6], **EXACT)
    assert by_gid(share, "random")[0].get_ydata()[0] == pytest.approx(0.95, abs=1e-12)
    assert [bar.get_height() for bar in points.patches] == [40, 90, 20]
    assert [label.get_text() for label in points.get_xticklabels()] == ["1–6", "7–9", "10"]


def test_titles_name_the_direction_and_the_caption_says_n_attack_data_and_scale():
    data = both(tables(), tables("two", 4, 5))
    figure, caption = draw("bucket_curve", data, {"experiments": ["two", "one"], "step_size": 0.01})
    assert [panel.get_title(loc="left") for panel in figure.axes[:2]] == ["4 → 5", "1 → 2"]
    assert "random 4 × 3" in figure.axes[0].get_title(loc="right")
    for words in (
        "n, draws × repeats, stands above. ",
        "(of random points 12/12 and 12/12)",
        "PGD (targeted, l∞, ε = 0.1, 40 steps of 0.01)",
        "10 poisons",
        "(4 → 5, 1 → 2)",
        "Made with digits, model small cnn, recipe memorise in float32.",
        "Analogue",
    ):
        assert words in caption


def test_class_names_replace_numbers_in_the_titles():
    figure, caption = draw("bucket_curve", tables(), {"class_names": ["plane", "car", "bird"]})
    assert figure.axes[0].get_title(loc="left") == "car → bird"
    assert "car → bird" in caption


def test_epsilon_chooses_among_several_radii_and_must_when_there_are_several():
    data = tables(epsilons=(0.1, 0.2))
    with pytest.raises(InputError, match=r"differ in {'epsilon': \[0.1, 0.2\]}"):
        draw("bucket_curve", data)
    figure, caption = draw("bucket_curve", data, {"epsilon": 0.2})
    np.testing.assert_allclose(by_gid(figure.axes[0], "all")[0].get_ydata(), [0.65, 0.20, 0.45], **EXACT)
    assert "ε = 0.2" in caption
    with pytest.raises(InputError, match=r"epsilon 0.3, it has \[0.1, 0.2\]"):
        draw("bucket_curve", data, {"epsilon": 0.3})


def test_without_a_targeted_attack_the_option_attack_decides_and_the_caption_changes_the_definition():
    data = tables()
    rows = data["robustness"]
    data["robustness"] = rows[rows["goal"] == "targeted"].assign(
        goal="untargeted", attack_source=np.nan, attack_target=np.nan
    )
    further = data["robustness"].assign(attack="more")
    with pytest.raises(InputError, match="no targeted attack 1 → 2"):
        draw("bucket_curve", {**data, "robustness": pd.concat([data["robustness"], further], ignore_index=True)})
    for options in ({}, {"attack": "pgd"}):  # the only one need not be named
        _, caption = draw("bucket_curve", data, options)
        assert "still classified correctly" in caption


def test_an_attack_that_only_the_clean_victims_met_changes_nothing():
    data = tables()
    rows = data["robustness"]
    clean = rows[(rows["condition"] == "clean") & (rows["attack"] == "pgd")]
    further = clean.assign(attack="pgd_next", adversarial_accuracy=0.0)
    _, caption = draw("bucket_curve", {**data, "robustness": pd.concat([rows, further], ignore_index=True)})
    assert caption == draw("bucket_curve", data)[1]


@pytest.mark.parametrize(
    ("condition", "strategy"), [("clean", "none"), ("random", "random"), ("bucket", "path_bucket")]
)
def test_a_missing_condition_or_its_victims_are_named(condition, strategy):
    data = tables()
    without = {**data, "conditions": data["conditions"][data["conditions"]["condition"] != condition]}
    with pytest.raises(InputError, match=f"strategy '{strategy}'"):
        draw("bucket_curve", without)
    with pytest.raises(InputError, match=f"no victims of condition '{condition}'"):
        draw("bucket_curve", {**data, "victims": data["victims"][data["victims"]["condition"] != condition]})


def test_a_victim_that_was_not_attacked_is_an_error_and_not_a_smaller_mean():
    data = tables()
    data["robustness"] = data["robustness"].drop(victims_of(data, "bucket", 1.0).index[:2])
    with pytest.raises(InputError, match="2 of 6 victims of 'one/bucket' lack the attack 'pgd'"):
        draw("bucket_curve", data)


def test_an_unknown_experiment_and_mixed_scales_are_errors():
    with pytest.raises(InputError, match=r"lack the experiments \['three'\]"):
        draw("bucket_curve", tables(), {"experiments": ["three"]})
    mixed = both(tables(), tables("two", 4, 5))
    mixed["conditions"].loc[mixed["conditions"]["experiment"] == "two", "scale"] = "published"
    with pytest.raises(InputError, match=r"mix the scales \['analogue', 'published'\]"):
        draw("bucket_curve", mixed)


def test_a_bucket_without_victims_or_values_leaves_a_gap():
    data = tables()
    gone = (data["victims"]["axis_value"] == 2.0) & (data["victims"]["condition"] == "bucket")
    data["victims"] = data["victims"][~gone]
    unknown = victims_of(data, "bucket", 0.0).index
    data["robustness"].loc[unknown, "adversarial_accuracy"] = np.nan
    line = by_gid(draw("bucket_curve", data)[0].axes[0], "all")[0]
    np.testing.assert_allclose(line.get_ydata(), [np.nan, 0.30, np.nan], **EXACT)


# ---- natural accuracy ----------------------------------------------------------------


def test_natural_accuracy_marks_the_lowest_poisoned_victim_and_the_claimed_99_per_cent():
    figure, caption = draw("natural_accuracy", tables())
    (panel,) = figure.axes
    assert by_gid(panel, "threshold")[0].get_ydata()[0] == 0.99
    assert by_gid(panel, "minimum")[0].get_ydata()[0] == 0.985
    assert "0.9850" in [text.get_text() for text in panel.texts]
    assert sum(len(dots.get_ydata()) for dots in by_gid(panel, "victims")) == 3 * 6 + 12 + 3
    assert [label.get_text() for label in panel.get_xticklabels()] == [
        "1–6",
        "7–9",
        "10",
        "random points",
        "no poisons",
    ]
    for words in ("1 → 2 98.50 %", "dashed: 99 %", "buckets 2 × 3, random points 4 × 3, no poisons 1 × 3"):
        assert words in caption


def test_a_clean_victim_is_never_the_lowest_poisoned_one():
    data = tables(lowest=0.9925)
    data["victims"].loc[data["victims"]["condition"] == "clean", "natural_accuracy"] = 0.5
    assert "1 → 2 99.20 %" in draw("natural_accuracy", data)[1]


# ---- paths ---------------------------------------------------------------------------


def test_path_lengths_draw_the_histogram_of_the_first_seed_filled_and_mark_its_median():
    figure, caption = draw("path_lengths", {"lengths": lengths()}, {"step_size": 0.01})
    first, second = figure.axes
    counts, edges, _ = by_gid(first, "first")[0].get_data()
    np.testing.assert_array_equal(counts, [0, 1, 3, 0, 0, 1])
    np.testing.assert_array_equal(edges, np.arange(7) - 0.5)
    np.testing.assert_array_equal(by_gid(first, "other")[0].get_data()[0], [0, 0, 0, 0, 2, 0])
    assert by_gid(first, "median")[0].get_xdata()[0] == 2
    assert first.get_title(loc="right") == "median 2 (2–4 over seeds)"
    assert [panel.get_title(loc="left") for panel in (first, second)] == ["0 → 1", "1 → 0"]
    for words in ("10 training points, of which 3 never reached", "1 other proxy.", "path steps of 0.01"):
        assert words in caption


def test_points_that_never_reached_the_boundary_stand_apart_and_count_in_the_median():
    _, panel = draw("path_lengths", {"lengths": lengths()})[0].axes
    (bar,) = by_gid(panel, "never")
    assert bar.get_height() == 3
    assert bar.get_x() > 5  # right of the longest path
    assert panel.get_title(loc="right").startswith("median > 5")
    assert "never" in [label.get_text() for label in panel.get_xticklabels()]


@pytest.mark.parametrize(("classes", "layout"), [(2, (1, 2)), (10, (5, 2))])
def test_panels_of_path_lengths_stand_in_two_columns(classes, layout):
    rows = [(0, label, (label + 1) % classes, 3, 7, True) for label in range(classes)]
    table = pd.DataFrame(rows, columns=["proxy_seed", "label", "target", "steps", "n_points", "reached"])
    figure, _ = draw("path_lengths", {"lengths": table.assign(paths="cnn")})
    assert len(figure.axes) == classes
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == layout


def test_untargeted_paths_say_so_and_several_paths_need_a_choice():
    untargeted = lengths().assign(target=-1, paths="any")
    assert draw("path_lengths", {"lengths": untargeted})[0].axes[0].get_title(loc="left") == "0 → any other"
    two = pd.concat([lengths(), untargeted])
    with pytest.raises(InputError, match=r"several paths \['any', 'cnn'\]"):
        draw("path_lengths", {"lengths": two})
    assert draw("path_lengths", {"lengths": two}, {"paths": "cnn"})[0].axes[0].get_title(loc="left") == "0 → 1"
    with pytest.raises(InputError, match="no points of paths 'vit'"):
        draw("path_lengths", {"lengths": two}, {"paths": "vit"})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "PGD (targeted, l∞, ε = 0.1, 20 steps of 0.0125)"),
        ({"norm": "l2", "epsilon": 2, "steps": 1, "step_size": 1.0}, "PGD (targeted, l2, ε = 2, 1 step of 2)"),
        ({"random_start": True}, "PGD (targeted, l∞, ε = 0.1, 20 steps of 0.0125, 1 random start)"),
        ({"random_start": True, "restarts": 5}, "PGD (targeted, l∞, ε = 0.1, 20 steps of 0.0125, 5 random starts)"),
        ({"step_size": np.nan, "restarts": 2.0, "random_start": np.nan}, "PGD (targeted, l∞, ε = 0.1, 20 steps)"),
        ({"steps": np.nan, "step_size": np.nan, "random_start": np.nan}, "PGD (targeted, l∞, ε = 0.1)"),
    ],
)
def test_a_caption_says_how_the_attack_moves_and_starts(changed, words):
    attack = {"attack": "pgd", "goal": "targeted", "norm": "linf", "epsilon": 0.1, "steps": 20, "step_size": 0.125}
    assert describe(pd.Series({**attack, "random_start": False, "restarts": 1, **changed})) == words


@pytest.mark.parametrize(
    ("attack", "words"), [("pgd_next", "PGD"), ("cifar_dlr", "APGD-DLR"), ("wide_radii", "wide radii")]
)
def test_an_attack_is_called_by_its_method_or_its_name_as_words(attack, words):
    assert method(attack) == words


def test_the_contact_sheet_shows_every_image_its_steps_and_a_frame_around_label_issues():
    arrays, names = extremes()
    figure, caption = draw("nearest_and_farthest", {"extremes": (arrays, names)}, {"dataset": "digits"})
    (axes,) = figure.axes
    assert len(axes.images) == 3 * 4 + 3 * 2
    np.testing.assert_array_equal(axes.images[4 + 2].get_array(), arrays["nearest_images"][1, 2, 0])
    words = [text.get_text() for text in axes.texts]
    assert [word for word in words if "→" in word] == ["cat → dog", "dog → eel", "eel → cat"]
    numbers = [*arrays["nearest_steps"].ravel(), *arrays["farthest_steps"].ravel()]
    assert [word for word in words if word.isdigit()] == [str(number) for number in numbers]
    (frame,) = (artist for artist in by_gid(axes, "issue") if isinstance(artist, Rectangle))
    left, right, bottom, top = axes.images[4 + 2].get_extent()
    assert (frame.get_x(), frame.get_y(), frame.get_width(), frame.get_height()) == pytest.approx(
        (left, top, right - left, bottom - top), abs=1e-12
    )
    assert "nearest to the boundary 1 of 12 are label issues, of the farthest 0 of 6.**" in caption
    assert "Made with digits" in caption


def test_colour_images_keep_their_channels():
    arrays, names = extremes()
    for side in ("nearest", "farthest"):
        arrays[f"{side}_images"] = np.repeat(arrays[f"{side}_images"], 3, axis=2).astype(np.float32) / 255
    image = draw("nearest_and_farthest", {"extremes": (arrays, names)})[0].axes[0].images[0].get_array()
    np.testing.assert_array_equal(image, np.moveaxis(arrays["nearest_images"][0, 0], 0, -1))


def test_extremes_that_do_not_fit_together_are_errors():
    arrays, names = extremes()
    with pytest.raises(InputError, match=r"lack \['farthest_issue'\]"):
        draw("nearest_and_farthest", {"extremes": ({k: v for k, v in arrays.items() if k != "farthest_issue"}, names)})
    with pytest.raises(InputError, match="'target_names' has 0 names for 3 rows"):
        draw("nearest_and_farthest", {"extremes": (arrays, {"class_names": names["class_names"]})})
    flat = {**arrays, "nearest_images": np.zeros((3, 4, 16))}
    with pytest.raises(InputError, match="image datasets only"):
        draw("nearest_and_farthest", {"extremes": (flat, names)})
    with pytest.raises(InputError, match="do not fit"):
        draw("nearest_and_farthest", {"extremes": ({**arrays, "nearest_steps": np.zeros((3, 3))}, names)})


# ---- pipeline ------------------------------------------------------------------------


def test_the_pipeline_names_rules_of_the_workflow_and_no_text_leaves_its_box_or_meets_another():
    figure, _ = draw("pipeline", {})
    (axes,) = figure.axes
    figure.draw_without_rendering()
    texts = [text for text in axes.texts if text.get_text()]
    rules = {rule for text in texts for rule in text.get_text().split("\n") if "_" in rule}
    files = (Path(__file__).parents[2] / "workflow" / "rules").glob("*.smk")
    assert rules <= {rule for file in files for rule in re.findall(r"^rule (\w+):", file.read_text(), re.MULTILINE)}
    assert len(rules) == 12
    boxes = [text.get_window_extent() for text in texts]
    page = figure.bbox
    for i, box in enumerate(boxes):
        assert page.x0 <= box.x0 < box.x1 <= page.x1, texts[i].get_text()
        assert page.y0 <= box.y0 < box.y1 <= page.y1, texts[i].get_text()
        assert not any(box.overlaps(other) for other in boxes[:i]), texts[i].get_text()


# ---- conditions ---------------------------------------------------------------------


def test_every_condition_and_value_is_a_mean_with_its_interval_and_the_baseline_a_line():
    figure, _ = draw("conditions", tables())
    accuracy, share = figure.axes
    grids = [ACCURACY[1.0], RANDOM, ACCURACY[2.0], ACCURACY[0.0], CLEAN]  # by growing mean
    expected = [mean_interval(np.array(values), bounds=(0.0, 1.0)) for values in grids]
    drawn = [float(mark.get_ydata()[0]) for mark in by_gid(accuracy, "all")]
    np.testing.assert_allclose(drawn, [estimate.value for estimate in expected], **EXACT)
    ends = [line.get_paths()[0].vertices[:, 1] for line in by_gid(accuracy, "all-interval")]
    np.testing.assert_allclose(ends, [(estimate.low, estimate.high) for estimate in expected], **EXACT)
    np.testing.assert_allclose(by_gid(accuracy, "baseline")[0].get_ydata(), [np.mean(RANDOM)] * 2, **EXACT)
    labels = [label.get_text() for label in share.get_xticklabels()]
    assert labels == ["bucket 1", "random", "bucket 2", "bucket 0", "clean"]
    assert sum(len(dots.get_ydata()) for dots in by_gid(accuracy, "victims")) == 3 + 12 + 3 * 6


def test_the_finding_counts_the_conditions_that_differ_from_the_baseline_as_the_table_of_strategies_does():
    data = tables()
    own = data["robustness"]["condition"] == "bucket"
    for value, accuracy in ((0, 0.95), (1, 0.02)):
        data["robustness"].loc[own & (data["robustness"]["axis_value"] == value), "adversarial_accuracy"] = accuracy
    table = compare(Query("one", data))
    verdicts = list(table["verdict"])
    assert "stronger" in verdicts
    most = table.loc[table["difference"].idxmin()]
    _, caption = draw("conditions", data)
    expected = f"Of 3 conditions, {verdicts.count('stronger')} is shown to lower adversarial accuracy more than random"
    interval = f"{most['difference']:+.2f} [{most['low']:+.2f}, {most['high']:+.2f}]"
    unfitted = sum("fitted" in verdict for verdict in verdicts)
    cannot = f" Of {unfitted} too few victims fit their poisons to be compared." if unfitted else ""
    assert f"**{expected}, most of all bucket 1, {interval}, and {verdicts.count('weaker')} less.{cannot}**" in caption
    _, caption = draw("conditions", tables())
    assert "Of 3 conditions, none is shown to lower adversarial accuracy more than random, and none less." in caption


def test_without_poisons_and_where_none_fitted_the_caption_says_so():
    clean = paired_difference(np.array(CLEAN), np.array(RANDOM))
    data = tables()
    assert f"Without poisons: {value_text(clean, sign='+')} from random." in draw("conditions", data)[1]
    last = (data["victims"]["condition"] == "bucket") & (data["victims"]["axis_value"] == 2)
    data["victims"].loc[last, "fitted_share"] = 0.5
    assert "of victims (all, for some conditions have none that fitted so many)" in draw("conditions", data)[1]


def test_an_experiment_without_buckets_can_be_drawn_and_victims_that_fitted_stand_beside_the_others():
    data = {name: frame[frame["condition"] != "bucket"] for name, frame in tables().items()}
    figure, caption = draw("conditions", data)
    accuracy = figure.axes[0]
    assert len(by_gid(accuracy, "all")) == 2
    np.testing.assert_allclose([m.get_ydata()[0] for m in by_gid(accuracy, "fitted")], [np.mean(RANDOM)], **EXACT)
    assert "10 poisons (1 → 2)" in caption


def test_the_baseline_can_be_chosen_and_must_be_one_condition():
    _, caption = draw("conditions", tables(), {"baseline": "bucket 1"})
    assert "more than bucket 1" in caption
    with pytest.raises(InputError, match="has 3 conditions 'bucket', a comparison needs exactly 1"):
        draw("conditions", tables(), {"baseline": "bucket"})
    data = {name: frame[frame["condition"] != "random"] for name, frame in tables().items()}
    with pytest.raises(InputError, match="has 0 conditions of strategy 'random'"):
        draw("conditions", data)


def test_one_victim_per_condition_has_no_interval():
    data = tables()
    first = {name: data[name].query("draw == 0 and repeat == 0") for name in ("victims", "robustness")}
    figure, caption = draw("conditions", {"conditions": data["conditions"], **first})
    assert not [mark for mark in figure.axes[0].get_children() if mark.get_gid() == "all-interval"]
    assert "Without poisons: +0.50 from random." in caption  # no interval


# ---- every strategy beside random points ------------------------------------------------


def test_every_strategy_stands_at_its_difference_from_random_in_the_colour_of_its_verdict():
    data = both(tables("one"), tables("two", 4, 5))
    # Far from random points on both sides, and many draws: verdicts of every kind.
    for name, shift in (("one", 0.5), ("two", -0.35)):
        own = (data["robustness"]["experiment"] == name) & (data["robustness"]["condition"] == "bucket")
        data["robustness"].loc[own & (data["robustness"]["axis_value"] == 0), "adversarial_accuracy"] = 0.42 + shift
    figure, caption = draw("strategies", data)
    looks = {"stronger": style.VERMILLION, "weaker": style.BLUE, "open": style.GREY}
    panels = {panel.get_title(loc="left"): panel for panel in figure.axes}
    assert list(panels) == ["1 → 2 (digits)", "4 → 5 (digits)"]
    verdicts = []
    for name, panel in zip(("one", "two"), panels.values(), strict=True):
        table = compare(Query(name, {key: frame[frame["experiment"] == name] for key, frame in data.items()}))
        table = table.sort_values("difference", kind="stable", ignore_index=True)
        drawn = table[table["difference"].notna()]
        marks = {mark.get_ydata()[0]: mark for mark in by_gid(panel, "difference")}
        lines = np.array([path.vertices[:, 0] for line in by_gid(panel, "interval") for path in line.get_paths()])
        np.testing.assert_allclose([marks[n].get_xdata()[0] for n in drawn.index], drawn["difference"], **EXACT)
        np.testing.assert_allclose(lines, drawn[["low", "high"]].clip(-1, 1), **EXACT)
        for n, verdict in drawn["verdict"].items():
            assert same_color(marks[n].get_color(), looks.get(verdict, style.GREY))
        names = [f"bucket {value:g}" for value in table["value"]]  # the most harmful one first
        assert [label.get_text() for label in panel.get_yticklabels()] == names
        verdicts += list(table["verdict"])
    assert {"stronger", "weaker"} <= set(verdicts)
    stronger, weaker = verdicts.count("stronger"), verdicts.count("weaker")
    assert f"Of 6 comparisons with random points, {stronger} show" in caption
    assert f"and {weaker} to be harder.**" in caption


def test_panels_are_divided_among_columns_as_evenly_as_their_order_allows():
    names = ["tall", "b", "c", "d"]
    parts = [tables(name) for name in names]
    for copy in range(4):
        for name, frame in list(parts[0].items()):
            again = frame[frame["condition"] == "bucket"].assign(condition=f"copy {copy}")
            parts[0][name] = pd.concat([frame, again], ignore_index=True)
    figure, _ = draw("strategies", both(*parts), {"experiments": names})
    # All of one pair of classes and one data set: their names tell them apart.
    assert [panel.get_title(loc="left") for panel in figure.axes] == [f"1 → 2 ({name})" for name in names]
    places = sorted({panel.get_position().x0 for panel in figure.axes})
    rows = [[len(panel.get_yticks()) for panel in figure.axes if panel.get_position().x0 == place] for place in places]
    assert rows in ([[15], [3, 3], [3]], [[15], [3], [3, 3]])
    with pytest.raises(InputError, match=r"25 experiments .* 1 to 24 do"):
        draw("strategies", tables(), {"experiments": [str(n) for n in range(25)]})


def test_a_forest_has_a_row_for_each_experiment_with_both_levels_and_their_difference():
    data = beside_random([tables("one"), tables("two", 4, 5)])
    medoids = data["robustness"]["condition"] == "medoids"
    data["robustness"].loc[medoids & (data["robustness"]["experiment"] == "two"), "adversarial_accuracy"] = 0.1
    data = {
        name: frame[~((frame["condition"] == "medoids") & (frame["repeat"] == 2))] if "repeat" in frame else frame
        for name, frame in data.items()
    }  # the baseline has a repeat more
    labels = {"one": "a CNN", "two": "an MLP", "random": "random points"}
    figure, caption = draw("forest", data, {"labels": labels})
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["an MLP", "a CNN"]  # the larger difference first
    differences = []
    for place, name in enumerate(("two", "one")):
        found = Query(name, {key: frame[frame["experiment"] == name] for key, frame in data.items()})
        own, other = (found.select(side)[0].grid for side in ("medoids", "random"))
        for gid, value in {"own": own.mean(), "baseline": other[:, :2].mean()}.items():
            np.testing.assert_allclose(by_gid(left, gid)[place].get_xdata(), [value], **EXACT)
        differences.append(difference := paired_difference(own, other))
        np.testing.assert_allclose(by_gid(right, "difference")[place].get_xdata(), [difference.value], **EXACT)
        (path,) = by_gid(right, "difference-interval")[place].get_paths()
        np.testing.assert_allclose(path.vertices[:, 0], [difference.low, difference.high], **EXACT)
    # In colour, and counted, is what a test with Holm's correction shows, too.
    verdicts = [verdict for *_, verdict in judge(differences, [1.0, 1.0])]
    assert verdicts == ["stronger", "open"]
    for verdict, mark in zip(verdicts, by_gid(right, "difference"), strict=True):
        assert same_color(mark.get_color(), style.VERMILLION if verdict == "stronger" else style.GREY)
    assert "**In 1 of 2 experiments medoids are shown to leave less than random points, most in an MLP (-0.3" in caption
    assert "n, draws × repeats: 2–4 × 2." in caption
    with pytest.raises(InputError, match="has 3 values, allowed is 1"):
        draw("forest", tables(), {"condition": "bucket"})
    with pytest.raises(InputError, match="no condition of strategy 'medoids'; leave experiment 'one' out"):
        draw("forest", tables())


def test_nearness_shows_how_near_flips_are_beside_what_they_take_away():
    data = beside_random([tables("one"), tables("two", 4, 5)])
    figure, caption = draw("nearness", {**data, "nearness": near()})
    left, middle, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["one", "two"]  # the nearest flips first
    for gid, values in {"random": (2 / 2.5, 2 / 1.6), "medoids": (1.8 / 2.5, 1.8 / 1.6)}.items():
        np.testing.assert_allclose([float(mark.get_xdata()[0]) for mark in by_gid(left, gid)], values, **EXACT)
    for gid, value in {"random-reach": 0.3, "medoids-reach": 0.5, "best-reach": 0.6}.items():
        assert [float(mark.get_xdata()[0]) for mark in by_gid(middle, gid)] == [value] * 2
    for place, name in enumerate(("one", "two")):
        found = Query(name, {key: frame[frame["experiment"] == name] for key, frame in data.items()})
        own, other = (found.select(side)[0].grid for side in ("medoids", "random"))
        difference, level = paired_difference(own, other), other.mean()
        np.testing.assert_allclose(by_gid(right, "share")[place].get_xdata(), [-difference.value / level], **EXACT)
        (path,) = by_gid(right, "share-interval")[place].get_paths()
        ends = [-difference.high / level, -difference.low / level]
        np.testing.assert_allclose(path.vertices[:, 0], ends, **EXACT)
    share = f"{1 - own.mean() / level:.2f}"
    assert f"{share} where random flips lie nearer than another class (1 of 2)" in caption
    assert f"{share} where another class lies nearer (1 of 2)" in caption
    assert "Left out" not in caption
    with pytest.raises(InputError, match="no row of class 4 of 'digits'; name an analysis 'nearness'"):
        draw("nearness", {**data, "nearness": near().iloc[:1]})
    scale = np.where(data["robustness"]["experiment"] == "one", 0.01, 1)
    data["robustness"] = data["robustness"].assign(
        adversarial_accuracy=data["robustness"]["adversarial_accuracy"] * scale
    )
    figure, caption = draw("nearness", {**data, "nearness": near()})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["two"]
    assert "Left out, for random leave less than 5 %: one." in caption
    data["robustness"]["adversarial_accuracy"] *= 0.01
    with pytest.raises(InputError, match=r"random leave less than 0\.05 in every experiment; choose"):
        draw("nearness", {**data, "nearness": near()})


def test_a_verdict_that_is_none_stands_beside_its_row():
    data = tables()
    poor = (data["victims"]["condition"] == "random") & (data["victims"]["repeat"] > 0)
    data["victims"].loc[poor, "fitted_share"] = 0.5
    figure, _ = draw("strategies", data)
    assert {text.get_text() for text in figure.axes[0].texts} == {"too few fitted", "not fitted"}


def test_an_experiment_without_random_points_has_no_place_among_the_strategies():
    data = {name: frame[frame["condition"] != "random"] for name, frame in tables().items()}
    with pytest.raises(InputError, match="'one' has nothing to compare with random points at ε = 0"):
        draw("strategies", data)


# ---- studies of any shape ---------------------------------------------------------------


def study():
    """Clean victims and two conditions of different flips, budgets and models, each attacked on its own classes."""
    first, second = tables(), tables("one", 4, 5)
    second["conditions"] = second["conditions"].assign(model="resnet", budget=20)
    parts = []
    for name, part in (("mild", first), ("harsh", second)):
        kept = {
            key: frame[frame["condition"].isin(["random"] + ["clean"] * (name == "mild"))]
            for key, frame in part.items()
        }
        renamed = {key: frame.replace({"condition": {"random": name}}) for key, frame in kept.items()}
        parts.append(renamed)
    data = both(*parts)
    clean = data["robustness"]["condition"] == "clean"
    other = data["robustness"][clean & (data["robustness"]["goal"] == "targeted")].assign(
        attack_source=4, attack_target=5
    )
    data["robustness"] = pd.concat([data["robustness"], other], ignore_index=True)
    harsh = data["robustness"]["condition"] == "harsh"
    data["robustness"].loc[harsh, "adversarial_accuracy"] /= 2
    return data


def test_conditions_of_different_flips_and_models_are_each_judged_by_the_attack_on_their_own_classes():
    figure, caption = draw("conditions", study(), {"baseline": "mild", "attack": "pgd"})
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["harsh", "mild", "clean"]
    means = [mark.get_ydata()[0] for mark in by_gid(figure.axes[0], "all")]
    np.testing.assert_allclose(means, [np.mean(RANDOM) / 2, np.mean(RANDOM), np.mean(CLEAN)], **EXACT)
    assert figure.axes[0].get_title(loc="left") == "one"  # no pair of classes that all share
    for words in (
        "victims of 10, 20 poisons (one), ",
        "model small cnn, resnet",
        "under PGD (targeted",
        "source class's test points not taken for the target class",
    ):
        assert words in caption


def test_another_column_than_adversarial_accuracy_stands_alone_without_an_attack():
    data = tables()
    data["victims"] = data["victims"].assign(penalty=data["victims"]["natural_accuracy"] * 100)
    for column, factor, words in (("natural_accuracy", 1, "Natural accuracy"), ("penalty", 100, "Penalty")):
        figure, caption = draw("conditions", data, {"column": column})
        expected = [
            factor * own["natural_accuracy"].mean()
            for _, own in data["victims"].groupby(["condition", data["victims"]["axis_value"].fillna(-1)], sort=False)
        ]
        means = [mark.get_ydata()[0] for mark in by_gid(figure.axes[0], "all")]
        np.testing.assert_allclose(sorted(means), sorted(expected), rtol=1e-9)
        assert figure.axes[0].get_ylabel() == words.lower()
        assert f"{words} of victims of 10 poisons (1 → 2), lowest first. Circles" in caption
        assert f"to lower {words.lower()} more than random" in caption
        assert "PGD" not in caption
        low, high = figure.axes[0].get_ylim()
        assert low < min(means) < max(means) < high
    with pytest.raises(InputError, match=r"option column names \['loss'\], allowed are .*'penalty'"):
        draw("conditions", data, {"column": "loss"})


def test_a_sweep_of_several_conditions_has_a_line_for_each_and_the_clean_victims_once():
    data = tables()
    copy = {name: frame[frame["condition"] == "bucket"].assign(condition="other") for name, frame in data.items()}
    copy["robustness"]["adversarial_accuracy"] /= 2
    data = both(data, copy)
    figure, _ = draw("sweep", data)
    means = [line.get_ydata() for line in by_gid(figure.axes[0], "adversarial_accuracy")]
    expected = np.array([np.mean(ACCURACY[value]) for value in (0, 1, 2)])
    np.testing.assert_allclose(means, [expected, expected / 2], **EXACT)
    assert len(by_gid(figure.axes[0], "clean")) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one: bucket", "one: other", "no poisons"]
    alone, _ = draw("sweep", data, {"lines": {"one": {"label": "a", "condition": "other"}}})
    assert [text.get_text() for text in alone.legends[0].get_texts()] == ["a", "no poisons"]
    with pytest.raises(
        InputError, match=r"has the conditions \['bucket', 'other'\] with a sweep axis, this figure needs 'third'"
    ):
        draw("sweep", data, {"lines": {"one": {"condition": "third"}}})


def test_a_sweep_of_two_victims_draws_those_without_poisons_of_each_by_themselves():
    data = tables()
    copy = {name: frame[frame["condition"].isin(["bucket", "clean"])].copy() for name, frame in data.items()}
    for frame in copy.values():
        frame["condition"] += "@wide"
    copy["conditions"]["model"] = "wide"
    copy["robustness"]["adversarial_accuracy"] /= 2
    figure, _ = draw("sweep", both(data, copy))
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["one: bucket", "one: bucket, wide"]
    levels = [line.get_ydata()[0] for line in by_gid(figure.axes[0], "clean")]
    np.testing.assert_allclose(levels, [np.mean(CLEAN), np.mean(CLEAN) / 2], **EXACT)


def test_a_sweep_shows_any_column_and_needs_no_attack_for_others():
    data = tables()
    data["victims"] = data["victims"].assign(penalty=data["victims"]["axis_value"].fillna(5) * 3)
    data["robustness"] = data["robustness"].assign(attack_source=7)
    figure, caption = draw("sweep", data, {"panels": ["penalty", "natural_accuracy"]})
    np.testing.assert_allclose(by_gid(figure.axes[0], "penalty")[0].get_ydata(), [0, 3, 6], **EXACT)
    assert figure.axes[0].get_ylabel() == "penalty"
    assert "**With the value of the sweep axis, penalty rises (one: 0.00 to 6.00).**" in caption
    assert figure.axes[1].get_ylabel() == "natural accuracy"
    assert "PGD" not in caption


def test_the_caption_of_a_sweep_says_where_a_shorter_line_ends():
    data = tables()
    copy = {name: frame[frame["condition"] == "bucket"].assign(condition="short") for name, frame in data.items()}
    data = both(data, {name: frame[frame["axis_value"] < 2] for name, frame in copy.items()})
    data["victims"] = data["victims"].assign(penalty=data["victims"]["axis_value"].fillna(5) * 3)
    caption = draw("sweep", data, {"panels": ["penalty"]})[1]
    assert "penalty rises (one: bucket: 0.00 to 6.00 and one: short: 0.00 to 3.00 at 1).**" in caption


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ((0.2, 0.5, 0.8), "rises"),
        ((0.8, 0.5, 0.2), "falls"),
        ((0.8, 0.2, 0.7), "falls, then rises"),
        ((0.2, 0.8, 0.3), "rises, then falls"),
        ((0.5, 0.5, 0.5), "is not shown to rise or fall"),
    ],
)
def test_the_finding_of_a_sweep_says_how_each_line_changes_as_far_as_intervals_show(levels, words):
    data = tables()
    own = data["robustness"]["condition"] == "bucket"
    noise = np.array([[0.0, 0.02, -0.01], [0.01, -0.03, 0.01]])  # another one at each value, and small
    for place, level in enumerate(levels):
        rows = data["robustness"][own & (data["robustness"]["axis_value"] == place)]
        shaken = level + np.roll(noise, place, axis=1)[rows["draw"], rows["repeat"]]
        data["robustness"].loc[rows.index, "adversarial_accuracy"] = shaken
    ends = f"one: {levels[0]:.2f} to {levels[2]:.2f}"  # the noise has the mean 0
    assert f"**With the value of the sweep axis, adversarial accuracy {words} ({ends}).**" in draw("sweep", data)[1]


def test_a_sweep_over_the_budget_names_all_budgets_and_the_first_value_its_own():
    data = one_condition("one")
    data["conditions"]["budget"] = data["conditions"]["axis_value"].fillna(0) + 1
    assert " Victims of 1, 2, 3 poisons" in draw("sweep", data)[1]
    assert " 1 poisons: " in draw("by_experiment", data)[1]


# ---- sweeps and toys -----------------------------------------------------------------


def test_a_line_of_a_sweep_goes_through_the_means_at_the_values_of_the_axis_and_its_band_is_their_interval():
    data = both(tables(), tables("two", 3, 4))
    options = {
        "lines": {"two": {"label": "second"}, "one": {"label": "first", "dashed": True}},
        "axis_label": "distance",
    }
    figure, caption = draw("sweep", data, options)
    titles = ["adversarial accuracy", "natural accuracy", "poisons fitted", "epochs trained"]
    assert [panel.get_ylabel() for panel in figure.axes] == titles
    for line in by_gid(figure.axes[0], "adversarial_accuracy"):
        np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2])
        np.testing.assert_allclose(line.get_ydata(), [np.mean(ACCURACY[value]) for value in (0, 1, 2)], **EXACT)
    band = by_gid(figure.axes[0], "interval")[0].get_paths()[0].vertices
    for value in (0, 1, 2):
        expected = mean_interval(np.array(ACCURACY[value]), bounds=(0, 1))
        ends = band[band[:, 0] == value, 1]
        np.testing.assert_allclose([ends.min(), ends.max()], [expected.low, expected.high], **EXACT)
    np.testing.assert_allclose(by_gid(figure.axes[3], "epochs")[0].get_ydata(), [11, 11, 11], **EXACT)
    assert by_gid(figure.axes[0], "adversarial_accuracy")[1].get_linestyle() == "--"
    assert "n, draws × repeats, at each value: 2 × 3; without poisons: 1 × 3" in caption
    for line in by_gid(figure.axes[0], "clean"):
        np.testing.assert_allclose(line.get_ydata(), np.mean(CLEAN), **EXACT)
    fitted = figure.axes[2].get_children()
    assert not [artist for artist in fitted if artist.get_gid() == "clean"]  # there is nothing to fit
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["second", "first", "no poisons"]


def test_an_experiment_may_add_values_to_another_one_s_line():
    whole = tables()
    data = both(
        {name: frame[frame["axis_value"] != 1] for name, frame in whole.items()},
        {name: frame[frame["axis_value"] == 1].assign(experiment="between") for name, frame in whole.items()},
    )
    options = {"lines": {"between": {"part_of": "one"}, "one": {"label": "all"}}}
    figure, caption = draw("sweep", data, options)
    (line,) = by_gid(figure.axes[0], "adversarial_accuracy")
    np.testing.assert_allclose(line.get_ydata(), [np.mean(ACCURACY[value]) for value in (0, 1, 2)], **EXACT)
    assert caption == draw("sweep", whole, {"lines": {"one": {"label": "all"}}})[1]


def test_published_values_are_drawn_and_axes_begin_where_they_are_told():
    options = {"published": {"natural_accuracy": [0.99, "above 99 %"]}, "lowest": {"natural_accuracy": 0.5}}
    figure, _ = draw("sweep", tables(), options)
    natural = figure.axes[1]
    assert by_gid(natural, "published")[0].get_ydata()[0] == 0.99
    assert natural.get_ylim() == pytest.approx((0.48, 1.02))
    data = tables()
    figure, caption = draw("bucket_curve", data, {"published": {"one": 0.25}})
    assert by_gid(figure.axes[0], "published")[0].get_ydata().tolist() == [0.25]
    assert "Square: published" in caption
    figure, _ = draw("path_lengths", {"lengths": lengths()}, {"published": {"0": 3}})
    assert by_gid(figure.axes[0], "published")[0].get_xdata()[0] == 3


def test_a_sweep_refuses_experiments_that_are_not_there_or_have_no_axis():
    data = tables()
    with pytest.raises(InputError, match=r"option lines names the experiments \['three'\], the tables hold \['one'\]"):
        draw("sweep", data, {"lines": {"three": {}}})
    with pytest.raises(
        InputError, match=r"option panels names \['loss'\], allowed are \['adversarial_accuracy', 'epochs', "
    ):
        draw("sweep", data, {"panels": ["loss"]})
    with pytest.raises(InputError, match="option panels names 5 columns, allowed are 1 to 4"):
        draw("sweep", data, {"panels": ["epochs"] * 5})
    without = {**data, "conditions": data["conditions"].assign(axis_value=np.nan)}
    with pytest.raises(InputError, match=r"has the conditions \[\] with a sweep axis"):
        draw("sweep", without)


def test_the_toy_shows_its_points_and_the_poisons_of_the_first_draw_in_the_colour_of_their_label():
    figure, caption = draw("toy_data", {"data": flat_toy(), "poisons": placed()} | {"example": example()})
    (panel,) = figure.axes
    first, second = by_gid(panel, "points")
    np.testing.assert_array_equal(np.array(first.get_data()).T, flat_toy().train_images[0::2])
    to_high, to_new = by_gid(panel, "poisons")
    np.testing.assert_array_equal(np.array(to_high.get_data()).T, [[-3, -5]])
    assert same_color(to_high.get_color(), second.get_color())
    np.testing.assert_array_equal(np.array(to_new.get_data()).T, [[5, 3]])
    assert to_new.get_label() == "labelled a new class"
    assert "Beside 20 training points lie 2 mislabelled ones, at r = 2 from the means" in caption
    assert "Training points of flat" in caption
    at_the_means, _ = draw("toy_data", {"data": flat_toy(), "poisons": placed()} | {"example": example()}, {"value": 0})
    np.testing.assert_array_equal(np.array(by_gid(at_the_means.axes[0], "poisons")[0].get_data()).T, [[5, 5]])
    with pytest.raises(InputError, match=r"no placed poisons at 7, the values are \[0.0, 2.0\]"):
        draw("toy_data", {"data": flat_toy(), "poisons": placed()} | {"example": example()}, {"value": 7})


def test_experiments_side_by_side_are_the_means_of_their_victims_at_the_first_value():
    data = both(one_condition("one"), one_condition("two", 3, 4))
    options = {"lines": {"two": {"label": "b"}, "one": {"label": "a"}}, "axis_label": "k"}
    figure, caption = draw("by_experiment", data, options)
    assert "n, draws × repeats: 2 × 3." in caption
    panel, apart = figure.axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["b", "a"]
    assert apart.get_xlabel() == "a − b"
    assert [mark.get_xdata().tolist() for mark in by_gid(apart, "difference")] == [[0.0], [0.0]]
    (means,) = by_gid(panel, "adversarial_accuracy")
    np.testing.assert_allclose(means.get_ydata(), [np.mean(ACCURACY[0])] * 2, **EXACT)
    expected = mean_interval(np.array(ACCURACY[0]), bounds=(0, 1))
    intervals = [path.vertices[:, 1] for lines in by_gid(panel, "interval") for path in lines.get_paths()]
    np.testing.assert_allclose(intervals[2], [expected.low, expected.high], **EXACT)
    assert sum(len(dots.get_xdata()) for dots in by_gid(panel, "victims")) == 2 * 2 * 6
    fewer = {
        name: frame if name == "conditions" else frame[(frame["experiment"] == "one") | (frame["draw"] == 0)]
        for name, frame in data.items()
    }
    assert "n, draws × repeats: b: 1 × 3; a: 2 × 3." in draw("by_experiment", fewer, options)[1]
    with pytest.raises(
        InputError, match=r"has the conditions \['random', 'bucket'\] with poisons, this figure needs exactly 1"
    ):
        draw("by_experiment", tables())


def test_a_line_joins_experiments_that_are_numbers_and_no_names():
    data = both(one_condition("one"), one_condition("two", 3, 4))
    for labels, line in ((("1", "2.5"), "-"), (("next class", "2.5"), "None")):
        lines = {name: {"label": label} for name, label in zip(("one", "two"), labels, strict=True)}
        figure, _ = draw("by_experiment", data, {"lines": lines})
        assert by_gid(figure.axes[0], "adversarial_accuracy")[0].get_linestyle() == line


def test_an_experiment_without_a_sweep_axis_stands_beside_others_too():
    data = {name: frame[frame["condition"] != "bucket"] for name, frame in tables().items()}
    figure, _ = draw("by_experiment", data)
    (means,) = by_gid(figure.axes[0], "adversarial_accuracy")
    np.testing.assert_allclose(means.get_ydata(), [np.mean(RANDOM)], **EXACT)


def test_the_mechanism_shows_each_bucket_at_its_mean_accuracy_and_its_mean_share():
    data = tables()
    figure, caption = draw("mechanism", data)
    path, line = figure.axes
    accuracy = [np.mean(ACCURACY[value]) for value in (0, 1, 2)]
    for panel, shares in (
        (path, [1 - mean for mean in accuracy]),
        (line, [np.mean(np.square(ACCURACY[value])) for value in (0, 1, 2)]),
    ):
        (means,) = by_gid(panel, "means")
        np.testing.assert_allclose(means.get_offsets(), np.transpose([accuracy, shares]), **EXACT)
        assert sum(len(dots.get_xdata()) for dots in by_gid(panel, "victims")) == 18
    assert [text.get_text() for text in path.texts] == ["0", "1", "2"]
    assert path.get_title("right") == "0: 1–6   1: 7–9   2: 10"
    assert "n, draws × repeats: 2 × 3. " in caption
    without = {**data, "victims": data["victims"].drop(columns="path_share")}
    with pytest.raises(InputError, match=r"lacks the probes \['path_share'\]; set probes: true"):
        draw("mechanism", without)


@pytest.mark.parametrize("names", [("one", "two"), ("one", "two", "three")])
def test_the_path_lengths_of_eight_buckets_stand_beside_the_titles_and_not_on_them(names):
    data = tables()
    pair = {}
    for name, frame in data.items():
        bucket = frame[(frame["condition"] == "bucket") & (frame["axis_value"] == 0)]
        parts = [frame[frame["condition"] != "bucket"]]
        for value in range(8):
            own = bucket.assign(axis_value=float(value))
            steps = {"steps_low": 10 + 2 * value, "steps_high": 11 + 2 * value}
            parts.append(own.assign(**steps) if name == "conditions" else own)
        pair[name] = pd.concat(parts, ignore_index=True)
    several = {
        name: pd.concat([frame.assign(experiment=one) for one in names], ignore_index=True)
        for name, frame in pair.items()
    }
    figure, _ = draw("mechanism", several)
    figure.draw_without_rendering()
    for panel in figure.axes[: len(names)]:
        title, lengths = (
            next(text for text in panel.get_children() if isinstance(text, Text) and start in text.get_text())
            for start in ("→", "0: ")
        )
        assert not title.get_window_extent().overlaps(lengths.get_window_extent())
        assert "7: 24–25" in lengths.get_text()


def test_victims_without_a_fitted_poison_are_no_part_of_the_mechanism():
    data = tables()
    victims = data["victims"]
    victims.loc[(victims["axis_value"] == 1) & (victims["repeat"] > 0), ["path_share", "line_share"]] = np.nan
    figure, caption = draw("mechanism", data)
    assert "n, draws × repeats: 2 × 1–3. " in caption
    (means,) = by_gid(figure.axes[0], "means")
    np.testing.assert_allclose(means.get_offsets()[1], [0.35, 0.65], **EXACT)


def test_the_example_stands_beside_its_image_with_the_confidence_of_both():
    figure, caption = draw("adversarial_example", {"example": example()}, {"class_names": ["a", "b", "c"]})
    left, middle, right = figure.axes
    for panel, image in ((left, 0), (right, 1)):
        np.testing.assert_array_equal(by_gid(panel, "image")[0].get_array(), example()[0]["images"][image, 0])
    assert [panel.get_title() for panel in (left, middle, right)] == ["b: 98.5 %", "difference, ±0.04", "c: 62.0 %"]
    shown = by_gid(middle, "difference")[0].get_array()
    assert shown[2, 3] == pytest.approx(1)
    np.testing.assert_allclose(np.delete(np.asarray(shown).ravel(), 2 * 5 + 3), 0.5, **EXACT)
    assert "calls an image b with 98.5 % confidence, and c with 62.0 % once its pixels move by at most 0.04." in caption
    with pytest.raises(InputError, match="no adversarial example of class 1 was found"):
        draw("adversarial_example", {"example": example(wrong=1)})


def test_a_decision_map_shows_the_classes_of_the_first_value_or_of_the_one_asked_for():
    figure, caption = draw(
        "decision_maps", {"maps": plane(2)}, {"experiments": ["a", "b"], "lines": {"a": {"label": "k = 1"}}}
    )
    left, right = figure.axes
    assert [left.get_title(loc="left"), right.get_title(loc="left")] == ["k = 1", "b"]
    shown = by_gid(left, "map")[0].get_array()
    assert len(np.unique(np.asarray(shown).reshape(-1, 3), axis=0)) == 2
    np.testing.assert_array_equal(shown[0, 0], shown[4, 9])
    assert not np.array_equal(shown[4, 0], shown[5, 0])
    (poison, *_) = [artist for artist in by_gid(left, "poisons") if len(artist.get_data()[0])]
    np.testing.assert_array_equal(np.array(poison.get_data()).T, [[0.0, 0.5]])
    assert "its 2 clean training points" in caption
    (zoomed,) = plane()
    window = {"near_classes": 1 - zoomed["classes"], "near_extent": zoomed["extent"] / 10}
    twice, caption = draw("decision_maps", {"maps": [zoomed | window]}, {"experiments": ["a"], "near": True})
    far, near = twice.axes
    assert far.get_xlim() == (-2, 2)
    assert near.get_xlim() == (-0.2, 0.2)
    assert np.array_equal(by_gid(near, "map")[0].get_array()[0, 0], by_gid(far, "map")[0].get_array()[9, 0])
    assert "Below: around the first of them." in caption
    inset, caption = draw("decision_maps", {"maps": plane()}, {"experiments": ["a"], "inset": 0.5})
    # The poison, of label 0, lies in the upper half, which is class 1's.
    assert "**Poisons at whose place the map shows their label: 0 of 1.**" in caption
    assert "Insets: around each of them." in caption
    (window,) = inset.axes[0].child_axes
    assert (window.get_xlim(), window.get_ylim()) == ((-0.5, 0.5), (0.0, 1.0))
    assert "rings" not in [artist.get_gid() for artist in window.get_children()]
    other, _ = draw("decision_maps", {"maps": plane()}, {"experiments": ["a"], "value": 3})
    assert len(np.unique(np.asarray(by_gid(other.axes[0], "map")[0].get_array()).reshape(-1, 3), axis=0)) == 1
    with pytest.raises(InputError, match="'a' has no map at 7"):
        draw("decision_maps", {"maps": plane()}, {"experiments": ["a"], "value": 7})
    with pytest.raises(InputError, match="are slices through images"):
        draw("decision_maps", {"maps": sliced()}, {"experiments": ["a"]})


def test_slices_show_every_bucket_with_its_marks_and_frame_the_regions_that_are_apart():
    maps = sliced()
    maps[0]["marks"][2, 0] = [0.0, -1.5]  # of the last one the poison lies where the victim says source class
    figure, caption = draw("slices", {"maps": maps, "conditions": tables()["conditions"]})
    assert [panel.get_title() for panel in figure.axes] == ["1–6", "7–9", "10"]
    panel = figure.axes[0]
    assert [by_gid(panel, kind)[0].get_data() for kind in ("poison", "neighbour", "boundary")] == [
        ([0.0], [0.5]),
        ([0.2], [1.0]),
        ([1.0], [0.0]),
    ]
    assert "Analogue" in caption
    # The upper half is the target class's; the clean proxy gives it the right three columns.
    assert "**In 2 of 3 slices the region around the poison joins that of its new class; in none it is apart" in caption
    assert "and in 1 the poison is not fitted.**" in caption
    assert not any(spine.get_visible() for panel in figure.axes for spine in panel.spines.values())
    maps[0]["clean"][:] = 1
    figure, caption = draw("slices", {"maps": maps, "conditions": tables()["conditions"]})
    assert "**In 0 of 3 slices" in caption
    assert [panel.spines["left"].get_visible() for panel in figure.axes] == [True, True, False]
    with pytest.raises(InputError, match="are not slices"):
        draw("slices", {"maps": plane(), "conditions": tables()["conditions"]})


def test_the_vulnerable_area_of_the_smooth_classifier_is_the_wider_one():
    _, caption = draw("vulnerable_regions", {"data": flat_toy(), "poisons": placed()}, {"radius": 0.3})
    left, right = map(float, re.findall(r"area of ([\d.]+) around a dictionary, and of ([\d.]+) ", caption)[0])
    # The two poisons are mislabelled and lie apart: two discs of radius 0.3, counted on a grid.
    assert left == pytest.approx(2 * np.pi * 0.3**2, rel=0.05)
    assert right > left


def test_the_simulated_bound_counts_the_runs_that_keep_the_premises():
    table = runs()
    _, caption = draw("simulated_bound", {"runs": table})
    kept = table[table["guaranteed"] & table["every_ball"] & (table["classifier"] != "truth")]
    assert f"{len(kept)} of the {len(kept)} runs" in caption


def test_the_vacuous_bound_names_what_it_asks_for():
    table = covered()
    figure, caption = draw("vacuous_bound", {"cover": table}, {"dataset": "points"})
    assert len(figure.axes) == 2
    lines = by_gid(figure.axes[0], "bound")
    own = table[(table["norm"] == "linf") & (table["radius"] == 0.1)]
    np.testing.assert_array_equal(lines[0].get_data(), [own["covered"], own["required"]])
    assert "training points of points" in caption
    assert f"The least is {table['required'].min()} samples" in caption
    n = table["n_points"].iloc[0]
    few = table["required"].min() * table["noise"].iloc[0] / (10 / n)
    assert f"for 10 flips (η = 10/{n}) it is about {few:.0f} ({few / n:.2g} times)" in caption


def test_published_accuracies_and_lipschitz_constants_stand_beside_the_measured_ones():
    data = one_condition("one")
    data["victims"] = data["victims"].assign(lipschitz_mean=0.5, lipschitz_max=1.5)
    options = {"lines": {"one": {"label": "a", "published": [0.36, 0.04]}}, "lipschitz": True}
    figure, caption = draw("by_experiment", data, options)
    panel, beside = figure.axes
    (published,) = panel.containers
    assert published.lines[0].get_ydata().tolist() == [0.36]
    assert published.get_label() == "published, ± s.d."
    assert by_gid(beside, "lipschitz_mean")[0].get_ydata().tolist() == pytest.approx([0.5])
    assert by_gid(beside, "lipschitz_max")[0].get_ydata().tolist() == pytest.approx([1.5])
    assert "local Lipschitz constants" in caption


def test_poisons_of_all_classes_are_judged_by_the_mean_over_the_attacks_from_each_class():
    data = tables()
    for name in ("conditions", "robustness"):
        data[name] = data[name].copy()
    data["conditions"][["source_class", "target_class"]] = np.nan
    targeted = data["robustness"][data["robustness"]["goal"] == "targeted"]
    other = targeted.assign(attack_source=2, attack_target=3, adversarial_accuracy=targeted["adversarial_accuracy"] / 2)
    figure, caption = draw("conditions", {**data, "robustness": pd.concat([targeted, other])})
    means = [artist.get_ydata()[0] for artist in by_gid(figure.axes[0], "all")]
    alone, _ = draw("conditions", tables())
    expected = [artist.get_ydata()[0] * 0.75 for artist in by_gid(alone.axes[0], "all")]
    np.testing.assert_allclose(sorted(means), sorted(expected), **EXACT)
    assert "mean over classes" in caption


# ---- graphs and memorisation --------------------------------------------------------


def test_degrees_are_drawn_as_the_share_of_points_that_have_as_many():
    table = counted()
    figure, caption = draw("class_degrees", {"degrees": table}, {"dataset": "dust"})
    assert len(figure.axes) == 2
    lines = by_gid(figure.axes[0], "class")
    assert len(lines) == 6  # 3 classes × 2 densities
    own = table[(table["space"] == "input") & (table["density"] == 0.02) & (table["label"] == 0)]
    assert lines[0].get_xdata().tolist() == [0, *own["degree"]]
    assert lines[0].get_ydata().tolist() == [1, *(1 - own["quantile"])]
    assert lines[0].get_drawstyle() == "steps-pre"  # degrees are whole numbers
    assert "one line for each of 3 classes" in caption
    lone = table.query("quantile == 0.5 and degree == 0")  # the lower one of the two in the middle of 20 points
    assert 0 < len(lone) < 12
    assert f"**In {len(lone)} of the 12 graphs at least half of the points have no neighbour" in caption
    many = pd.concat([table.assign(density=density) for density in (0.01, 0.02, 0.03, 0.04, 0.05)])
    with pytest.raises(InputError, match=r"5 densities .* are too many for one figure, 4 can be told apart"):
        draw("class_degrees", {"degrees": many})


def test_a_colouring_is_drawn_with_its_points_balls_and_scores():
    table, idea = scored()
    figure, caption = draw("colouring", {"scores": table, "idea": idea}, {"class_names": ["a", "b"], "dataset": "dust"})
    plane_, histogram = figure.axes
    assert len(by_gid(plane_, "map")) == 1
    assert by_gid(plane_, "points")[0].get_xydata().tolist() == idea[0]["marks"][0, :2].tolist()
    assert by_gid(plane_, "attacked")[0].get_xydata().tolist() == idea[0]["marks"][0, 2:].tolist()
    heights = [patch.get_height() for patch in by_gid(histogram, "scores")] if by_gid(histogram, "scores") else []
    assert heights == [3, 1, 1]  # scores 0, 1 and 2
    for words in (
        "5 points of class b of dust, 4 colours of 1–2 points each",
        "The net fits 80 % of them, the first of 2, of which the poorest fits 80.0 %.",
        "in 3 of 6 cases; the score correlates with the number of neighbours at 0.468.**",
        "2 points have one",
    ):
        assert words in caption


def test_memorisation_shows_the_share_that_fits_everything_and_the_epochs():
    data = one_condition("one")
    nearest = data["victims"][data["victims"]["axis_value"] == 0]
    figure, caption = draw("memorisation", {name: data[name] for name in ("conditions", "victims")}, {"limit": 99})
    share, epochs, accuracy = figure.axes
    assert by_gid(accuracy, "natural_accuracy")[0].get_xdata() == pytest.approx(nearest["natural_accuracy"].mean())
    assert by_gid(share, "memorised")[0].get_xdata() == pytest.approx(2 / 3)  # repeats 1 and 2 of 0, 1, 2
    assert by_gid(epochs, "epochs")[0].get_xdata() == pytest.approx(nearest["epochs"].mean())
    assert by_gid(epochs, "victims")[0].get_xdata().tolist() == nearest["epochs"].tolist()
    assert "the limit of 99 epochs" in caption
    assert "fit every training point is 67 %.**" in caption
    assert "n, draws × repeats: 2 × 3." in caption
    found = share_interval(grid(nearest.assign(memorised=nearest["memorised"].astype(float)), "memorised"))
    (line,) = by_gid(share, "interval")
    np.testing.assert_allclose(line.get_paths()[0].vertices[:, 0], [found.low, found.high], **EXACT)
