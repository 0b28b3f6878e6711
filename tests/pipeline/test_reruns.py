"""What runs again after a change: what depends on it, and nothing else. All dry-runs, on the finished run."""

import os
import re
from pathlib import Path

import pytest
from checkout import EXPERIMENT, Checkout, write_config

DRAWN = {"draw_figure", "judge_claims", "write_page"}  # what is made from tables
EVALUATED = {"evaluate_robustness", "collect_tables", *DRAWN}
TRACED = {
    "trace_paths",
    "cut_buckets",
    "summarise_paths",
    "craft_poison",
    "train_victims",
    "probe_victims",
    "attack_proxies",
    "map_decisions",
    *EVALUATED,
}
COLOURED = {"score_colouring"}  # trains a net of its own, and attacks it
TRAINED = {"train_proxy", "find_label_issues", "extract_features", "count_degrees", *COLOURED, *TRACED}
TOGETHER = "alfa+bucket+clean+hard+random"  # conditions of one job


def figures(files: set[str]) -> set[str]:
    """Names of figures."""
    return {Path(file).stem for file in files}


def test_the_second_run_has_nothing_to_do(finished: Checkout):
    assert finished.stale() == {}


def test_a_fresh_checkout_of_the_same_source_has_nothing_to_do(finished: Checkout):
    # Git gives every file the time of the checkout, newer than the results of an older run.
    for file in finished.folder.rglob("*"):
        if file.is_file() and file.relative_to(finished.folder).parts[0] not in ("results", ".snakemake"):
            os.utime(file)
    assert finished.stale() == {}


def test_an_edit_of_a_figure_draws_the_figures_of_its_module_and_nothing_else(finished: Checkout):
    with finished.edited("src/poisonlab/figures/paths.py", "style.PAGE * span_y", "0.9 * style.PAGE * span_y"):
        stale = finished.stale()
    assert set(stale) == {"draw_figure", "write_page"}
    assert figures(stale["draw_figure"]) == {"fig_4_5", "fig_4_6a", "fig_4_7"}


def test_a_comment_or_a_docstring_of_the_trainer_reruns_nothing(finished: Checkout):
    comment = ("\ndef _train_one(", "\n# A remark.\ndef _train_one(")
    docstring = ('"""One victim to train:', '"""A victim that is to be trained:')
    with (
        finished.edited("src/poisonlab/victims/engines/loop.py", *comment),
        finished.edited("src/poisonlab/victims/victim.py", *docstring),
    ):
        assert finished.stale() == {}


def test_an_edit_of_the_trainer_trains_again(finished: Checkout):
    with finished.edited("src/poisonlab/victims/engines/loop.py", "beta1=0.9", "beta1=0.8"):
        stale = finished.stale()
    assert set(stale) == TRAINED
    assert {Path(file).parts[4] for file in stale["train_victims"]} == {TOGETHER}


def test_an_edit_of_pgd_evaluates_again_and_trains_nothing(finished: Checkout):
    with finished.edited("src/poisonlab/attacks/steps.py", "2.5 / self.steps", "2.0 / self.steps"):
        stale = finished.stale()
    assert set(stale) == {"attack_proxies", *COLOURED, *EVALUATED}
    # The figures are those that show adversarial accuracy or victims, which share their tables' job
    assert len(stale["evaluate_robustness"]) == 1
    assert not figures(stale["draw_figure"]) & {"fig_4_5", "fig_4_6a", "fig_4_7", "pipeline"}


def test_an_edit_of_the_evaluation_evaluates_again_and_trains_nothing(finished: Checkout):
    with finished.edited("src/poisonlab/evaluation/robustness.py", '"n_points": int(', '"n_points": 0 + int('):
        assert set(finished.stale()) == EVALUATED


def test_an_edit_of_the_engine_under_attacks_and_paths_traces_again_as_well(finished: Checkout):
    # Paths decide which points are poisoned. Their victims share a job with clean and random ones, which it takes from its last run.
    with finished.edited("src/poisonlab/attacks/active_set.py", "stays = ~hit &", "stays = ~~~hit &"):
        stale = finished.stale()
    assert set(stale) == TRACED | COLOURED
    assert {Path(file).parts[4] for file in stale["train_victims"]} == {TOGETHER}


def test_an_edit_of_the_statistics_draws_and_judges_again_and_nothing_else(finished: Checkout):
    with finished.edited("src/poisonlab/statistics/permutations.py", "EXACT_LIMIT = 20_000", "EXACT_LIMIT = 10_000"):
        assert set(finished.stale()) == DRAWN


def test_an_edit_of_a_strategy_crafts_its_poisons_again(finished: Checkout):
    old, new = "request.relabel(index)", "request.relabel(index + 0)"
    with finished.edited("src/poisonlab/poisons/strategies/path_bucket.py", old, new):
        stale = finished.stale()
    assert stale["craft_poison"] == {f"results/poisons/{EXPERIMENT}/bucket/draws-0-0.safetensors"}


def test_a_changed_poison_trains_its_own_victims_again_and_no_others(finished: Checkout, tmp_path: Path):
    changed = finished.copy(tmp_path.resolve() / "changed")
    name = f"{EXPERIMENT}/{TOGETHER}/draws-0-0_repeats-0-1"
    log = changed.folder / "results" / "logs" / "train_victims" / f"{name}.log"
    with changed.edited(
        "src/poisonlab/poisons/strategies/path_bucket.py",
        "index = choose(",
        "index = choose(pool, 1, request.generator, '')\n    index = choose(",
    ):
        done = changed.run(f"results/victims/{name}.parquet", "--configfile", "tests/config/smoke.yaml")
    assert done.returncode == 0, done.stdout
    # 3 buckets × 2 repeats of all victims; the others are there from the beginning.
    first, total = re.findall(r"(\d+) of (\d+) victims trained", log.read_text())[0]
    assert int(total) - 3 * 2 == int(first) > 0


def test_paths_that_come_out_the_same_make_nothing_stale(finished: Checkout, tmp_path: Path):
    traced_again = finished.copy(tmp_path.resolve() / "traced")
    before = traced_again.content("paths", ".parquet")
    with traced_again.edited("src/poisonlab/attacks/active_set.py", "stays = ~hit &", "stays = ~~~hit &"):
        done = traced_again.run("results/paths/digits01/proxy-0.parquet", "--configfile", "tests/config/smoke.yaml")
        assert done.returncode == 0, done.stdout
        assert traced_again.content("paths", ".parquet") == before
        # New time, old content: Snakemake compares checksums. What is left uses the engine itself.
        assert set(traced_again.stale()) == {"probe_victims", "map_decisions", "attack_proxies", *COLOURED, *EVALUATED}


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({"attacks": {"pgd": {"epsilon": [0.3]}}}, EVALUATED),
        ({"paths": {"digits01": {"issues_among": 5}}}, {"summarise_paths", *DRAWN}),
        ({"recipes": {"digits01": {"epochs": 7}}}, TRAINED),
    ],
)
def test_a_change_of_the_configuration_reruns_what_depends_on_it(
    finished: Checkout, tmp_path: Path, change: object, rules: set[str]
):
    assert set(finished.stale(write_config(tmp_path, change))) == rules
