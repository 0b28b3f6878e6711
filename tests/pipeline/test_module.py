"""The pipeline as a module of another workflow, which lies in another folder."""

import json
from pathlib import Path

from checkout import REPOSITORY
from own_study import planned, snakemake

IMPORTER = """
configfile: "own.json"

module lab:
    snakefile: {snakefile!r}
    config: config["lab"]

use rule * from lab as lab_*

rule mine:
    input: "results/figures/small/two.svg"
    output: "mine.svg"
    shell: "cp {{input}} {{output}}"
"""
# JSON is YAML. The data set is declared by the repository's config.yaml, which the importer does not name.
STUDY = {
    "recipes": {"one": {"epochs": 1}},
    "poisons": {"random": {"dataset": "digits01", "strategy": "random", "sweep": {"budget": [1, 2]}}},
    "victims": {"flat": {"model": "mlp", "recipe": "one"}},
    "experiments": {"flips": {"poisons": ["random"], "victims": ["flat"], "attacks": ["pgd_any"]}},
    "figures": {"two": {"kind": "sweep", "experiments": ["flips"]}, "idea": {"kind": "pipeline"}},
}


def importer(folder: Path) -> Path:
    """Write another workflow, its configuration and a study beside it."""
    (folder / "small").mkdir()
    (folder / "small" / "study.yaml").write_text(json.dumps(STUDY))
    (folder / "own.json").write_text(json.dumps({"lab": {"studies": ["./small"], "draws": 2, "repeats": 1}}))
    (folder / "Snakefile").write_text(IMPORTER.format(snakefile=str(REPOSITORY / "Snakefile")))
    return folder


def test_another_workflow_takes_the_rules_over_with_a_configuration_of_its_own(tmp_path: Path):
    folder = importer(tmp_path.resolve())
    jobs = planned(snakemake(folder, "--dry-run", "mine").stdout)
    # Two draws come from the importer's configuration: the study says nothing, and the default is three.
    expected = {"prepare_data", "craft_small_0", "craft_small_1", "collect_tables", "draw_figure"}
    expected = {f"lab_{name}": 1 for name in expected} | {"lab_train_victims": 2, "lab_evaluate_robustness": 2}
    assert jobs == {"mine": 1, **expected}
    assert {"lab_write_page", "lab_write_index", "lab_judge_claims", "lab_draw_figures_small_0"} <= set(
        planned(snakemake(folder, "--dry-run", "lab_all").stdout)
    )
    assert not (folder / "results").exists()


def test_another_workflow_draws_a_figure_in_its_own_folder(tmp_path: Path):
    folder = importer(tmp_path.resolve())
    done = snakemake(folder, "results/figures/small/idea.svg")
    assert done.returncode == 0, done.stdout
    drawn = folder / "results" / "figures" / "small"
    assert "<svg" in (drawn / "idea.svg").read_text()
    assert (drawn / "idea.txt").read_text().strip()
    assert not list(folder.glob("workflow"))
