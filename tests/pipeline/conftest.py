"""What the tests of the pipeline share: one finished run of the smoke configuration."""

import itertools
from pathlib import Path

import pytest
from checkout import SMOKE, Checkout, NewCheckout


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the smoke configuration has run from beginning to end. Leave it as it is, or edit a copy."""
    checkout = Checkout.create(tmp_path_factory.mktemp("finished").resolve())
    done = checkout.run(*SMOKE)
    assert done.returncode == 0, done.stdout
    return checkout


@pytest.fixture
def new_checkout(tmp_path: Path) -> NewCheckout:
    """Return a function that makes checkouts in which nothing has run."""
    numbers = itertools.count()
    return lambda: Checkout.create(tmp_path.resolve() / f"checkout-{next(numbers)}")
