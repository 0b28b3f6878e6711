"""What runs again after a change: what depends on it, and nothing else. On the finished run, or on copies of it."""

import os
import re
import zipfile
from pathlib import Path

import pytest
from checkout import EXPERIMENT, SMOKE, VICTIMS, Checkout, write_config

JUDGED = {"judge_claims", "write_page", "write_index"}
DRAWN = {"draw_figures", *JUDGED}  # what is made from tables
EVALUATED = {"evaluate_robustness", "collect_tables", *DRAWN}
TRACED = {
    "trace_paths",
    "cut_buckets",
    "craft",
    "train_victims",
    "probe_victims",
    "map_decisions",
    "analyse",
    *EVALUATED,
}
TRAINED = {"train_proxy", "extract_answers", *TRACED}
ATTACKING = {"digits_nets", "digits_colours"}  # analyses that attack what they train
OF_PATHS = {"fig_4_5", "fig_4_6a", "fig_4_7"}  # figures of one module
CHUNK = "draws-0-0_repeats-0-1"

PGD = ("src/poisonlab/attacks/steps.py", "2.5 / self.steps", "2.0 / self.steps")
STRATEGY = "src/poisonlab/poisons/strategies/path_bucket.py"
ENGINE = ("src/poisonlab/attacks/active_set.py", "stays = ~hit &", "stays = ~~~hit &")


def analyses(files: set[str]) -> set[str]:
    """Names of analyses."""
    return {Path(file).parent.name for file in files}


def drawings(checkout: Checkout) -> dict[str, int]:
    """Figure → inode of its file: every drawing makes another one, and Snakemake changes only the times of those that
    are left alone.
    """
    return {file.stem: file.stat().st_ino for file in (checkout.folder / "results/figures/label_noise").glob("*.svg")}


def expect_drawn(checkout: Checkout, expected: set[str], *arguments: str) -> None:
    """Run the jobs that draw figures and fail where they draw others than those that are expected."""
    before = drawings(checkout)
    done = checkout.run("figures", *SMOKE, *arguments)
    assert done.returncode == 0, done.stdout
    after = drawings(checkout)
    assert {name for name in after if after[name] != before.get(name)} == expected


@pytest.fixture
def copy(finished: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the finished run in which something may run."""
    return finished.copy(tmp_path.resolve() / "copy")


# ------------------------------------------------------------------------------------------------ nothing to do


def test_the_second_run_has_nothing_to_do(finished: Checkout):
    assert finished.stale() == {}


def test_a_fresh_checkout_of_the_same_source_has_nothing_to_do(finished: Checkout):
    # Git gives every file the time of the checkout, newer than the results of an older run.
    for file in finished.folder.rglob("*"):
        if file.is_file() and file.relative_to(finished.folder).parts[0] not in ("results", ".snakemake"):
            os.utime(file)
    assert finished.stale() == {}


def test_a_comment_or_a_docstring_of_the_trainer_reruns_nothing(finished: Checkout):
    comment = ("\ndef _flatten(", "\n# A remark.\ndef _flatten(")
    docstring = ('"""One victim to train.', '"""A victim that is to be trained.')
    with (
        finished.edited("src/poisonlab/victims/engines/loop.py", *comment),
        finished.edited("src/poisonlab/victims/victim.py", *docstring),
    ):
        assert finished.stale() == {}


# ------------------------------------------------------------------------------------------------ figures


def test_an_edited_figure_is_drawn_again_with_those_of_its_module_and_no_other(copy: Checkout):
    with copy.edited("src/poisonlab/figures/paths.py", "style.PAGE * span_y", "0.9 * style.PAGE * span_y"):
        # The jobs that draw run, of which Snakemake knows no parts; the pages show the captions.
        assert set(copy.stale()) == {"draw_figures", "write_page", "write_index"}
        expect_drawn(copy, OF_PATHS)
        assert set(copy.stale()) == {"write_page", "write_index"}


def test_another_option_of_a_figure_draws_it_again_and_no_other(copy: Checkout, tmp_path: Path):
    change = write_config(tmp_path, {"label_noise": {"figures": {"fig_4_6b": {"options": {"epsilon": 0.2}}}}})
    expect_drawn(copy, {"fig_4_6b"}, change)


def test_a_figure_that_cannot_be_drawn_leaves_the_old_ones_in_place(copy: Checkout):
    before = copy.content("figures", ".svg", ".png", ".txt")
    with copy.edited("src/poisonlab/figures/paths.py", "def ", "raise RuntimeError('broken')\n\n\ndef "):
        done = copy.run("figures", *SMOKE)
        assert done.returncode == 1
    assert copy.content("figures", ".svg", ".png", ".txt") == before
    expect_drawn(copy, set())
    assert copy.stale() == {}


def test_one_figure_by_itself_runs_only_what_it_shows(new_checkout):
    fresh = new_checkout()
    done = fresh.snakemake("results/figures/label_noise/fig_4_5.svg", *SMOKE, "--dry-run", "--quiet", "rules")
    assert done.returncode == 0, done.stdout
    assert "analyse" in done.stdout
    assert "train_victims" not in done.stdout
    done = fresh.run("results/figures/label_noise/fig_3_1.svg", *SMOKE)
    assert done.returncode == 0, done.stdout
    assert set(drawings(fresh)) == {"fig_3_1"}
    assert not (fresh.folder / "results/victims").exists()
    assert set(fresh.content("data", ".safetensors")) == {"toy_nn.safetensors"}


def test_the_report_shows_every_figure_with_its_caption(finished: Checkout, tmp_path: Path):
    report = tmp_path / "report.zip"
    done = finished.snakemake(*SMOKE, "--report", str(report))
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(report) as opened:
        shown = {Path(name).name for name in opened.namelist()}
        words = b"".join(opened.read(name) for name in opened.namelist() if name.endswith((".html", ".js"))).decode()
    names = set(drawings(finished))
    assert {f"{name}.svg" for name in names} <= shown
    for name in names:
        caption = (finished.folder / f"results/figures/label_noise/{name}.txt").read_text()
        assert " ".join(caption.strip("*").split()[:3]) in words, name


# ------------------------------------------------------------------------------------------------ code of the other stages


def test_an_edit_of_the_trainer_trains_again(finished: Checkout):
    with finished.edited("src/poisonlab/victims/optimisers.py", "beta1=0.9", "beta1=0.8"):
        stale = finished.stale()
    assert set(stale) == TRAINED
    assert {str(Path(file).parent) for file in stale["train_victims"]} == {f"results/victims/{EXPERIMENT}/{VICTIMS}"}


def test_an_edit_of_pgd_evaluates_again_and_trains_no_plain_victim(finished: Checkout):
    with finished.edited(*PGD):
        stale = finished.stale()
    assert set(stale) == {"analyse", *EVALUATED}
    assert analyses(stale["analyse"]) == ATTACKING
    assert len(stale["evaluate_robustness"]) == 1


def test_an_edit_of_the_evaluation_evaluates_again_and_trains_nothing(finished: Checkout):
    with finished.edited("src/poisonlab/evaluation/robustness.py", '"n_points": int(', '"n_points": 0 + int('):
        assert set(finished.stale()) == EVALUATED


def test_an_edit_of_the_engine_under_attacks_and_paths_traces_again_as_well(finished: Checkout):
    # Paths decide which points are poisoned. Their victims share a job with clean and random ones, which it takes from
    # its last run.
    with finished.edited(*ENGINE):
        assert set(finished.stale()) == TRACED


def test_an_edit_of_the_statistics_draws_and_judges_again_and_nothing_else(finished: Checkout):
    with finished.edited("src/poisonlab/statistics/permutations.py", "EXACT_LIMIT = 100_000", "EXACT_LIMIT = 10_000"):
        assert set(finished.stale()) == DRAWN


def test_an_edit_of_a_strategy_crafts_its_poisons_again(finished: Checkout):
    with finished.edited(STRATEGY, "request.relabel(index)", "request.relabel(index + 0)"):
        stale = finished.stale()
    assert stale["craft"] == {"results/poisons/label_noise/digits01_0to1_bucket/draw-0.safetensors"}


def test_a_changed_poison_trains_its_own_victims_again_and_no_others(copy: Checkout):
    name = f"{EXPERIMENT}/{VICTIMS}/{CHUNK}"
    log = copy.folder / "results/logs/train_victims" / f"{name}.log"
    again = "index = choose(pool, 1, request.generator, '')\n    index = choose("
    with copy.edited(STRATEGY, "index = choose(", again):
        done = copy.run(f"results/victims/{name}.parquet", *SMOKE)
    assert done.returncode == 0, done.stdout
    # 3 buckets × 2 repeats of all victims; the others are there from the beginning.
    first, total = re.findall(r"(\d+) of (\d+) victims trained", log.read_text())[0]
    assert int(total) - 3 * 2 == int(first) > 0


def test_paths_that_come_out_the_same_make_nothing_stale(copy: Checkout):
    before = copy.content("paths", ".parquet")
    with copy.edited(*ENGINE):
        done = copy.run("results/paths/digits01.parquet", *SMOKE)
        assert done.returncode == 0, done.stdout
        assert copy.content("paths", ".parquet") == before
        # New time, old content: Snakemake compares checksums. What is left uses the engine itself.
        stale = copy.stale()
    assert set(stale) == {"probe_victims", "map_decisions", "analyse", *EVALUATED}
    assert analyses(stale["analyse"]) == ATTACKING


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({"attacks": {"pgd": {"epsilon": [0.1, 0.3]}}}, EVALUATED),
        (
            {"analyses": {"digits_issues": {"parameters": {"among": 5}}}},
            {"analyse", "draw_figures", "write_page", "write_index"},
        ),
        ({"recipes": {"digits01": {"epochs": 7}}}, TRAINED),
    ],
)
def test_a_change_of_the_configuration_reruns_what_depends_on_it(
    finished: Checkout, tmp_path: Path, change: object, rules: set[str]
):
    assert set(finished.stale(write_config(tmp_path, change))) == rules
