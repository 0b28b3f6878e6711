"""A result that has changed on disk is noticed, and made again once it is deleted."""

import os
from pathlib import Path

from checkout import SMOKE, Checkout


def flip_a_bit(file: Path) -> None:
    """Change a file as a failing disk does: in place, so that every name of it shows the change, and at its old time."""
    state = file.stat()
    with open(file, "r+b") as opened:
        opened.seek(state.st_size - 100)  # within the last array
        byte = opened.read(1)[0]
        opened.seek(state.st_size - 100)
        opened.write(bytes([byte ^ 4]))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_one_flipped_bit_in_victims_is_noticed_and_they_are_trained_again(finished: Checkout, tmp_path: Path):
    checkout = finished.copy(tmp_path.resolve() / "checkout")
    victims = sorted(checkout.folder.glob("results/victims/**/*.safetensors"))[0]
    known = victims.with_name(f"{victims.name}.known")
    assert known.read_bytes() == victims.read_bytes()
    known.unlink()
    known.hardlink_to(victims)  # as the run made it; a copied folder holds two files
    flip_a_bit(victims)
    assert checkout.stale() == {}

    done = checkout.run("tables", *SMOKE, "--forcerun", "evaluate_robustness")
    assert done.returncode == 1
    (line,) = {line for line in done.stdout.splitlines() if line.startswith("evaluate_robustness: ")}
    name = victims.relative_to(checkout.folder)
    assert line == (
        f"evaluate_robustness: file '{name}' cannot be read (its content does not agree with its digest); "
        "delete it and run again"
    )
    victims.unlink()
    done = checkout.run("tables", *SMOKE)
    assert done.returncode == 0, done.stdout
    assert checkout.content("tables", ".parquet") == finished.content("tables", ".parquet")
