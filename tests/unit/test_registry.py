"""Catalogues: what registering does, what is found, and what is refused."""

import pytest

from poisonlab.errors import InputError
from poisonlab.registry import Catalogue, Entry


@pytest.fixture
def colours() -> Catalogue[Entry]:
    catalogue = Catalogue("colour", __name__, Entry)

    @catalogue("red", source="here", parameters={"depth": 1, "shade": ("dark", "light"), "share": 0.5, "any": None})
    def red() -> None: ...

    return catalogue


def test_what_is_registered_is_found_by_its_name(colours):
    assert colours.find("red").source == "here"
    assert list(colours.entries()) == ["red"]


def test_a_name_that_does_not_exist_is_refused_with_those_that_do(colours):
    with pytest.raises(InputError, match=r"colour 'blue' does not exist; choose one of red"):
        colours.find("blue")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "no_such_module:f", "ModuleNotFoundError"),
        ("def f(:", "broken_module:f", "SyntaxError"),
        ("1 / 0", "broken_module:f", "ZeroDivisionError"),
        ("x = 1", "broken_module:f", "AttributeError"),
        ("def f(): ...", "broken_module:f", "is not registered"),
        (None, ":f", "cannot be loaded"),
        (None, "json:", "cannot be loaded"),
    ],
)
def test_a_module_of_ones_own_that_cannot_be_used_is_an_error_in_one_line(
    colours, content, name, message, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "broken_module", raising=False)
    if content:
        (tmp_path / "broken_module.py").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        colours.find(name)
    assert "\n" not in str(caught.value)


def test_defaults_are_filled_in_and_a_tuple_lists_what_is_allowed(colours):
    assert colours.find("red").settings({"shade": "light"}, "here") == {
        "depth": 1, "shade": "light", "share": 0.5, "any": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dept": 1}, r"no parameters \['dept'\], it takes"),
        ({"depth": "1"}, "a whole number"),
        ({"depth": True}, "a whole number"),
        ({"depth": 1.5}, "a whole number"),
        ({"share": "a"}, "a number"),
        ({"shade": "grey"}, r"one of \['dark', 'light'\]"),
    ],
)
def test_parameters_that_are_not_allowed_are_refused_with_what_is(colours, given, message):
    with pytest.raises(InputError, match=message):
        colours.find("red").settings(given, "poisons.mine")


def test_a_number_may_be_given_as_a_whole_one(colours):
    assert colours.find("red").settings({"share": 1}, "here")["share"] == 1
