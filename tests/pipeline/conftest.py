"""What the tests of the pipeline share: one finished run of the smoke configuration."""

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import SMOKE, Checkout, NewCheckout
from filelock import FileLock


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the smoke configuration has run from beginning to end. Leave it as it is, or edit a copy.

    Of several workers the first one runs it, and each has a copy.
    """
    own = tmp_path_factory.mktemp("finished").resolve()
    root = own.parents["PYTEST_XDIST_WORKER" in os.environ]  # a worker's folder lies in the folder of its run
    shared = root / "finished"
    with FileLock(root / "finished.lock"):
        if not shared.exists():
            checkout = Checkout.create(root / "unfinished")
            done = checkout.run(*SMOKE)
            assert done.returncode == 0, done.stdout
            checkout.folder.rename(shared)
    return Checkout(shared).copy(own / "checkout")


@pytest.fixture
def new_checkout(tmp_path: Path) -> NewCheckout:
    """Return a function that makes checkouts in which nothing has run."""
    numbers = itertools.count()
    return lambda: Checkout.create(tmp_path.resolve() / f"checkout-{next(numbers)}")


@pytest.fixture
def checkout(new_checkout: NewCheckout) -> Iterator[Checkout]:
    """A checkout in which nothing has run; whatever a failed test leaves running there is ended."""
    fresh = new_checkout()
    yield fresh
    for pid in fresh.processes():
        os.kill(pid, signal.SIGKILL)
