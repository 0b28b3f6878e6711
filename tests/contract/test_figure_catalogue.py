"""What every figure of the catalogue owes the pipeline; a new one is picked up by itself."""

import re
import string
import subprocess
import sys

import pandas as pd
import pytest
from figure_inputs import inputs_of

from poisonlab.errors import InputError
from poisonlab.figures import draw, figure, save, style

NEEDS = {
    "conditions", "victims", "robustness", "lengths", "buckets", "extremes", "example", "data", "poisons", "maps",
    "runs", "cover", "degrees", "scores", "idea", "points", "detection", "svm_gradients", "svm_single_point",
    "positions", "histograms", "hypergradients", "ascents", "checks", "specifications",
}  # fmt: skip
PUBLISHED = ("6.1", "Appendix A", "2.1", "4.1", "4.4", "4.5", "4.6a", "4.6b", "4.7", "4.8")

every_figure = pytest.mark.parametrize("kind", figure.entries())


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
def test_a_caption_is_one_paragraph_with_every_field_filled(kind):
    _, caption = draw(kind, inputs_of(kind))
    fields = [field for _, field, _, _ in string.Formatter().parse(figure.find(kind).caption) if field]
    assert "\n" not in caption
    assert not {"nan", "None"} & set(re.findall(r"\w+", caption))
    assert not any(f"{{{field}}}" in caption for field in fields)


@every_figure
def test_drawing_and_saving_twice_gives_the_same_bytes(kind, tmp_path):
    written = []
    for turn in ("first", "second"):
        drawn, _ = draw(kind, inputs_of(kind))
        paths = tmp_path / f"{turn}.svg", tmp_path / f"{turn}.png"
        save(drawn, *paths)
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    assert b"<dc:date>" not in written[0][0]
    assert b"Matplotlib" not in written[0][0][:2000]


@every_figure
def test_a_figure_is_as_wide_as_a_column_or_a_page_and_its_legend_lies_within(kind):
    drawn, _ = draw(kind, inputs_of(kind))
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
