"""Figures are drawn again where their content, options or code changed, and nowhere else."""

import os
from pathlib import Path

import pytest
from figure_inputs import both, lengths, one_condition

from poisonlab.errors import InputError
from poisonlab.figures.specifications import ENDINGS, draw_all
from poisonlab.results.storage import read_table, write_table


@pytest.fixture
def specifications(tmp_path):
    """Three figures: "first" and "second" share the table of victims, "paths" has one of its own."""
    files = {}
    for name, table in {**both(one_condition("one"), one_condition("two", 3, 4)), "lengths": lengths()}.items():
        write_table(table, tmp_path / f"{name}.parquet")
        files[name] = [str(tmp_path / f"{name}.parquet")]

    def one(name, kind, needs):
        chosen = {need: files[need] for need in needs}
        return {
            "kind": kind,
            "files": chosen,
            "options": {},
            "note": "",
            "version": "1",
            "target": str(tmp_path / "out" / name),
        }

    return [
        one("first", "memorisation", ("conditions", "victims")),
        one("second", "memorisation", ("conditions", "victims")),
        one("paths", "path_lengths", ("lengths",)),
    ]


def redrawn(specifications, progress=lambda line: None):
    """Names of the figures that are drawn, checked against the files that are written."""
    files = [target + ending for target in (one["target"] for one in specifications) for ending in ENDINGS]
    before = {file: os.stat(file).st_ino if os.path.exists(file) else None for file in files}
    drawn = draw_all(specifications, progress)
    written = {file for file in files if os.stat(file).st_ino != before[file]}
    assert written == {target + ending for target in drawn for ending in ENDINGS}
    return [os.path.basename(target) for target in drawn]


def test_nothing_is_drawn_again_unless_something_changed(specifications):
    assert redrawn(specifications) == ["first", "second", "paths"]
    assert redrawn(specifications) == []
    for one in specifications:
        for files in one["files"].values():
            os.utime(files[0], (0, 2_000_000_000))
    assert redrawn(specifications) == []


@pytest.mark.parametrize("change", [{"version": "2"}, {"options": {"limit": 7}}, {"note": "More."}])
def test_a_changed_specification_is_drawn_again_alone(specifications, change):
    redrawn(specifications)
    specifications[1].update(change)
    assert redrawn(specifications) == ["second"]


def test_changed_content_redraws_the_figures_that_use_it(specifications):
    redrawn(specifications)
    file = specifications[0]["files"]["victims"][0]
    victims = read_table(file)
    victims.loc[0, "epochs"] += 1
    write_table(victims, file)
    assert redrawn(specifications) == ["first", "second"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_is_gone_or_damaged_is_drawn_again(specifications, ending):
    redrawn(specifications)
    whole = {one["target"]: Path(one["target"] + ending).read_bytes() for one in specifications}
    os.unlink(specifications[0]["target"] + ending)
    with open(specifications[2]["target"] + ending, "ab") as file:
        file.write(b"x")
    assert redrawn(specifications) == ["first", "paths"]
    for target, content in whole.items():
        assert Path(target + ending).read_bytes() == content


def test_a_figure_that_cannot_be_drawn_does_not_lose_the_others_and_is_named(specifications):
    specifications[0]["options"] = {"lines": {"three": {}}}
    with pytest.raises(
        InputError, match=r"^1 of 3 figures cannot be drawn, the others are: first: option lines names .*\['three'\]"
    ):
        draw_all(specifications, lambda line: None)
    del specifications[0]["options"]["lines"]
    assert redrawn(specifications) == ["first"]


def test_the_caption_ends_with_the_note_and_progress_names_each_figure(specifications):
    specifications[2]["note"] = "More words."
    lines = []
    redrawn(specifications, lines.append)
    assert lines == ["first, 1 of 3", "second, 2 of 3", "paths, 3 of 3"]
    caption = Path(specifications[2]["target"] + ".txt").read_text()
    assert caption.startswith("**The median path has ")
    assert caption.endswith(" More words.\n")


def test_the_order_of_the_lines_counts(specifications):
    for lines in ({"one": {}, "two": {}}, {"two": {}, "one": {}}):
        specifications[0]["options"] = {"lines": lines}
        assert redrawn(specifications[:1]) == ["first"]
