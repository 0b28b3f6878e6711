"""What every figure of the catalogue owes the pipeline; a new one is picked up by itself."""

import re
import statistics
import subprocess
import sys
from functools import cache

import pandas as pd
import pytest
from figure_inputs import inputs_of

from poisonlab.errors import InputError
from poisonlab.figures import draw, figure, save, style
from poisonlab.figures.captions import named, provenance, trained_by

NEEDS = {
    "conditions", "victims", "robustness", "lengths", "buckets", "extremes", "example", "data", "poisons", "maps",
    "runs", "cover", "degrees", "scores", "idea", "points", "detection", "svm_gradients", "svm_single_point",
    "positions", "histograms", "hypergradients", "ascents", "checks", "specifications", "nearness",
}  # fmt: skip
PUBLISHED = ("6.1", "Appendix A", "2.1", "4.1", "4.4", "4.5", "4.6a", "4.6b", "4.7", "4.8")

SEEN, ALL = 75, 120  # words: numbers and signs are none

every_figure = pytest.mark.parametrize("kind", figure.entries())


@cache
def drawn_once(kind):
    """Figure and caption. It is saved before it is laid out for its width, in the order of this file."""
    return draw(kind, inputs_of(kind))


def caption_of(kind):
    return drawn_once(kind)[1]


def words(text):
    return re.findall(r"[^\W\d_]+(?:['-][^\W\d_]+)*", text)


def test_reading_the_catalogue_imports_nothing_that_is_slow():
    code = (
        "import sys; from poisonlab.figures import figure; assert len(figure.entries()) > 10; "
        "print([m for m in ('matplotlib', 'pandas', 'scipy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@every_figure
def test_every_figure_says_what_it_needs_what_its_options_mean_and_which_published_figure_it_draws(kind):
    entry = figure.find(kind)
    assert set(entry.needs) <= NEEDS
    assert entry.title
    assert all(option.meaning for option in entry.options.values())
    published = re.sub(r"section \d+\.\d+", "", entry.source)
    for number in PUBLISHED:
        assert (number in published) <= (number in entry.function.__doc__), (
            f"{kind} does not say that it draws {number}"
        )


@every_figure
def test_a_caption_begins_with_its_finding_in_bold_says_what_is_seen_and_ends_with_the_method(kind):
    caption = caption_of(kind)
    seen, *method = caption.split("\n\n")
    assert re.fullmatch(r"\*\*[^*]*[^*.]\.\*\* [^*]*\.", seen)
    assert len(method) == bool(figure.find(kind).method)
    assert all(re.fullmatch(r"[^*\n]*[^*.]\.", one) for one in method)
    assert len(words(seen)) <= SEEN
    assert len(words(caption)) <= ALL


@every_figure
def test_a_caption_has_every_field_filled_and_no_name_of_the_configuration(kind):
    caption = caption_of(kind)
    assert not {"nan", "None"} & set(re.findall(r"\w+", caption))
    assert not set("@_{}") & set(caption)


def test_half_of_the_captions_say_finding_and_what_is_seen_in_sixty_words():
    seen = [len(words(caption_of(kind).partition("\n\n")[0])) for kind in figure.entries()]
    assert statistics.median(seen) <= 60


def test_a_name_of_the_configuration_is_its_label_or_words():
    labels = {"both": "features and pixels", "wide": "wide net", "a@b": "together"}
    told = ["both 0.1", "random_points@wide", "a@b 5", "toy64_far"]
    assert [named(name, labels) for name in told] == [
        "features and pixels 0.1", "random points, wide net", "together 5", "toy64 far",
    ]  # fmt: skip


def test_a_value_of_a_sweep_stands_in_the_label_of_its_condition_and_recipes_have_labels_too():
    labels = {"pca *": "components (γ at {%})", "bucket *": "bucket {} of 8", "hard 0.9": "largest losses"}
    told = [named(name, labels) for name in ("pca 0.0003", "bucket 5", "hard 0.9", "pca")]
    assert told == ["components (γ at 0.03 %)", "bucket 5 of 8", "largest losses", "pca"]
    own = {"recipe fast": "14 epochs", "model pooled": "a CNN"}
    assert provenance({"model": "pooled, wide_net", "recipe": "fast, slow"}, own) == (
        "Made with a CNN, model wide net, 14 epochs, recipe slow."
    )
    recipes = [("fast", "float32", "1 → 2"), ("slow", "bfloat16", "4 → 5"), ("fast", "float32", "9 → 0")]
    assert trained_by(recipes, own) == "14 epochs in float32 (1 → 2, 9 → 0), recipe slow in bfloat16 (4 → 5)"
    assert trained_by(recipes[::2], own) == "14 epochs in float32"


def test_labels_stand_instead_of_names_in_figure_and_caption():
    labels = {"bucket": "distance", "random": "any points", "digits": "8 × 8 digits"}
    drawn, caption = draw("conditions", inputs_of("conditions"), {"labels": labels})
    ticks = [tick.get_text() for tick in drawn.axes[-1].get_xticklabels()]
    assert ticks == ["distance 1", "any points", "distance 2", "distance 0", "clean"]
    assert "than any points" in caption
    assert "Made with 8 × 8 digits" in caption


@every_figure
def test_drawing_and_saving_twice_gives_the_same_bytes(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(style, "DPI", 72)  # a seventeenth of the pixels
    written = []
    for turn, (drawn, _) in (("first", drawn_once(kind)), ("second", draw(kind, inputs_of(kind)))):
        paths = tmp_path / f"{turn}.svg", tmp_path / f"{turn}.png"
        save(drawn, *paths)
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    assert b"<dc:date>" not in written[0][0]
    assert b"Matplotlib" not in written[0][0][:2000]


@every_figure
def test_a_figure_is_as_wide_as_a_column_or_a_page_and_its_legend_lies_within(kind):
    drawn, _ = drawn_once(kind)
    assert drawn.get_figwidth() in (style.COLUMN, style.PAGE)
    with style.paper():
        drawn.draw_without_rendering()
    for legend in drawn.legends:
        box = legend.get_window_extent()
        assert drawn.bbox.x0 <= box.x0 < box.x1 <= drawn.bbox.x1


@every_figure
def test_a_missing_or_empty_input_is_named(kind):
    for artefact in figure.find(kind).needs:
        rest = {name: value for name, value in inputs_of(kind).items() if name != artefact}
        with pytest.raises(InputError, match=f"needs '{artefact}'"):
            draw(kind, rest)
        with pytest.raises(InputError, match=f"needs '{artefact}'"):
            draw(kind, {**rest, artefact: pd.DataFrame()})


@every_figure
def test_an_option_that_a_figure_does_not_take_is_refused(kind):
    with pytest.raises(InputError, match=rf"'{kind}' has no parameters \['epsilom'\]"):
        draw(kind, inputs_of(kind), {"epsilom": 0.1})


OWN = """
from poisonlab.figures import Option, figure

@figure(
    "spread", needs=("victims",), title="Spread", caption="{n} victims.", options={"width": Option("in inches", 3.4)}
)
def spread(inputs, options):
    from matplotlib.figure import Figure
    return Figure(figsize=(options["width"], 2)), {"n": len(inputs["victims"])}
"""


def test_a_figure_of_ones_own_is_drawn_by_the_name_of_its_function_and_is_no_part_of_the_catalogue(
    tmp_path, monkeypatch
):
    (tmp_path / "own_figures.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    victims = inputs_of("memorisation")["victims"]
    drawn, caption = draw("own_figures:spread", {"victims": victims}, {"width": 5.0})
    assert drawn.get_figwidth() == 5
    assert caption == f"{len(victims)} victims."
    assert "spread" not in figure.entries()
    with pytest.raises(InputError, match="parameter width of 'spread' is 'wide', allowed is a number"):
        draw("own_figures:spread", {"victims": victims}, {"width": "wide"})
