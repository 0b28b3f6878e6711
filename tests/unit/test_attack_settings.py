"""Entries of the configuration's `attacks`: their defaults, and what they refuse."""

import math

import pytest

from poisonlab.attacks import attack, columns, settings
from poisonlab.errors import InputError


def test_an_entry_that_says_its_radii_alone_is_the_targeted_linf_pgd_of_twenty_steps():
    assert settings({"epsilon": [0.1, 0.2]}, "attacks.pgd") == {
        "method": "pgd", "norm": "linf", "goal": "target", "epsilon": [0.1, 0.2],
        "steps": 20, "step_size": None, "random_start": False, "restarts": 1,
    }  # fmt: skip


@pytest.mark.parametrize("name", attack.entries())
def test_every_method_has_defaults_that_it_accepts_itself(name):
    found = settings({"method": name, "epsilon": [0, 0.1]}, "attacks.it")
    assert settings(found, "attacks.it") == found
    assert found["goal"] == ("target" if attack.find(name).targeted else "untargeted")


REFUSED = {
    "a radius that is no number": (
        {"epsilon": [math.nan]},
        r"epsilon is nan, allowed are finite numbers of at least 0",
    ),
    "an infinite radius": ({"epsilon": [0.1, math.inf]}, r"epsilon is inf, allowed are finite"),
    "a negative radius": ({"epsilon": [-0.1]}, r"epsilon is -0\.1, allowed are finite"),
    "a radius in words": ({"epsilon": ["8/255"]}, r"epsilon is '8/255', allowed are finite"),
    "a radius that is a truth value": ({"epsilon": [True]}, r"epsilon is True, allowed are finite"),
    "a radius twice": ({"epsilon": [0.1, 0.2, 0.1]}, r"attacks\.it\.epsilon lists \[0\.1\] more than once"),
    "no radius": ({"epsilon": []}, r"epsilon is \[\], allowed is a list of radii"),
    "radii that are no list": ({"epsilon": 0.1}, r"epsilon is 0\.1, allowed is a list of radii"),
    "no radii": ({}, r"epsilon is None, allowed is a list of radii"),
    "an unknown method": (
        {"method": "cw"},
        r"attack 'cw' does not exist; choose one of apgd_ce, .*, square or 'module:function'",
    ),
    "a method that is no name": ({"method": 3}, r"attacks\.it\.method is 3, allowed is the name of an attack"),
    "an unknown norm": ({"norm": "l1"}, r"attacks\.it\.norm is 'l1', 'pgd' allows linf and l2; change it"),
    "a norm that the method does not have": (
        {"method": "r_fgsm", "norm": "l2"},
        r"norm is 'l2', 'r_fgsm' allows linf; change it",
    ),
    "an unknown goal": (
        {"goal": "all"},
        r"attacks\.it\.goal is 'all', 'pgd' allows target, next, untargeted; change it",
    ),
    "a targeted APGD": (
        {"method": "apgd_ce", "goal": "next"},
        r"'apgd_ce' allows untargeted; set goal: untargeted, or take .* pgd",
    ),
    "a parameter of another method": ({"method": "fgsm", "steps": 3}, r"'fgsm' has no parameters \['steps'\]"),
    "steps in words": ({"steps": "many"}, r"parameter steps of 'pgd' is 'many', allowed is a whole number"),
    "no steps": ({"steps": 0}, r"attack has 0 steps and 1 restarts; both must be at least 1"),
    "restarts from one point": ({"restarts": 5}, r"attack has 5 restarts from the same point; set random_start: true"),
    "a step of no length": (
        {"step_size": math.nan},
        r"attack step_size is nan, allowed is a finite share of ε above 0",
    ),
    "a random step of a whole radius": ({"method": "r_fgsm", "alpha": 1.0}, r"alpha is 1\.0, allowed is a share of ε"),
    "no queries": ({"method": "square", "queries": 0}, r"queries is 0, allowed is a whole number of at least 1"),
}


@pytest.mark.parametrize(("entry", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_one_line(entry, message):
    radii = {} if entry == {} else {"epsilon": [0.1]}
    with pytest.raises(InputError, match=message) as caught:
        settings({**radii, **entry}, "attacks.it")
    assert str(caught.value).startswith("attacks.it")
    assert "\n" not in str(caught.value)


def test_the_columns_of_the_table_say_what_the_steps_are_and_nothing_else():
    def of(**entry):
        found = columns(settings({"epsilon": [0.1], **entry}, "attacks.it"))
        return {name: value for name, value in found.items() if value == value}  # NaN is not itself

    assert of(steps=10) == {"steps": 10, "step_size": 0.25, "random_start": False, "restarts": 1}
    assert of(method="fgsm") == {"steps": 1, "step_size": 1.0, "random_start": False, "restarts": 1}
    assert of(method="r_fgsm", alpha=0.25) == {"steps": 1, "step_size": 0.75, "random_start": True, "restarts": 1}
    assert of(method="apgd_ce", restarts=5) == {"steps": 100, "random_start": True, "restarts": 5}
    assert of(method="square") == {"random_start": True, "restarts": 1}
