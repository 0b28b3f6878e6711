"""What a configuration makes the pipeline do: the files of a run, and the parameters that each job depends on. Imports no torch."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from poisonlab import datasets, models, strategies
from poisonlab.code_version import code_version
from poisonlab.configuration import Config, check
from poisonlab.errors import InputError
from poisonlab.figures import FIGURES, FigureKind

TABLES = ("conditions", "victims", "robustness")
SURVEY_TABLES = ("lengths", "issues")


@dataclass(frozen=True)
class Chunk:
    """The repeats first … last of one draw of one condition: one training job."""

    draw: int
    first: int
    last: int

    @property
    def name(self) -> str:
        """Its part of a file name."""
        return f"draw-{self.draw}_repeats-{self.first}-{self.last}"


class Plan:
    """A checked configuration, and what follows from it for each rule."""

    def __init__(self, config: Config, root: Path) -> None:
        self.root = root
        self.config = check(config, root / "workflow" / "schemas" / "config.schema.yaml")

    def version(self, script: str, *modules: str) -> str:
        """Version of the code behind an adapter: its file and everything that it imports from the package."""
        return code_version(self.root / "workflow" / "scripts" / f"{script}.py", *modules)

    # ----------------------------------------------------------------------------------------------------- what is asked for

    def experiment(self, study: str, name: str) -> dict[str, Any]:
        """Configuration of an experiment."""
        return self.config[study]["experiments"][name]

    def condition(self, study: str, experiment: str, name: str) -> dict[str, Any]:
        """Configuration of a condition."""
        return self.experiment(study, experiment)["conditions"][name]

    @cached_property
    def experiments(self) -> list[tuple[str, str]]:
        """(study, experiment) of everything that runs."""
        return [(study, name) for study in self.config["studies"] for name in self.config.get(study, {}).get("run", [])]

    @cached_property
    def figures(self) -> dict[tuple[str, str], dict[str, Any]]:
        """(study, figure) → configuration, for every figure that can be asked for."""
        sections = {study: self.config.get(study, {}).get("figures", {}) for study in self.config["studies"]}
        return {(study, name): entry for study, section in sections.items() for name, entry in section.items()}

    @cached_property
    def drawn(self) -> list[tuple[str, str]]:
        """(study, figure) of everything that is drawn by default: figures whose experiments all run, or are all archived."""
        if self.config["source"] == "archive":
            return [key for key in self.figures if all(Path(file).is_file() for file in self.figure_inputs(*key))]
        runs = set(self.experiments)
        return [key for key, entry in self.figures.items() if {(key[0], name) for name in entry["experiments"]} <= runs]

    @cached_property
    def surveys(self) -> list[str]:
        """Names of the paths that figures or experiments use."""
        used = {self.figures[key]["paths"] for key in self.drawn} - {None}
        used |= {entry["buckets"]["paths"] for key in self.experiments if "buckets" in (entry := self.experiment(*key))}
        return sorted(used)

    @property
    def documents(self) -> str:
        """Folder of figures and scorecard: those from the archive belong to the documentation."""
        return "docs" if self.config["source"] == "archive" else "results"

    @property
    def gpu(self) -> int:
        """GPUs of a training or evaluation job."""
        return int(self.config["device"] == "cuda")

    def require_device(self, jobs_run_here: bool) -> None:
        """Refuse `device: cuda` on a machine without a GPU, where jobs could only fail.

        Called before the first job: Snakemake deletes a job's old results as it starts. A cluster's jobs run where the GPUs are.
        Torch is asked in a process of its own, because only jobs import it.

        Raises:
            InputError: there is no GPU that torch can use.
        """
        if jobs_run_here and self.config["device"] == "cuda":
            probe = "import sys, torch; sys.exit(not torch.cuda.is_available())"
            if subprocess.run([sys.executable, "-c", probe], stderr=subprocess.DEVNULL, check=False).returncode:
                raise InputError(
                    "device 'cuda' is not there, this machine offers 'cpu'; set device: auto or device: cpu"
                )

    # -------------------------------------------------------------------------------------------------------- data and paths

    def data_inputs(self, dataset: str) -> list[str]:
        """Files that a data set is prepared from."""
        specification = self.config["datasets"][dataset]
        if datasets.SOURCES[specification["source"]].kind == "torchvision":
            return [f"results/raw/{specification['source']}"]
        return [str(Path(specification["path"]).expanduser())] if specification["source"] == "npz" else []

    def user_files(self, dataset: str) -> list[tuple[str, int]]:
        """Names and sizes of the files of an image folder: a change of the folder prepares the data set again."""
        specification = self.config["datasets"][dataset]
        if specification["source"] != "folder":
            return []
        folder = Path(specification["path"]).expanduser()
        return [(str(f.relative_to(folder)), f.stat().st_size) for f in sorted(folder.rglob("*")) if f.is_file()]

    def data_file(self, dataset: str) -> str:
        """File of a prepared data set."""
        return f"results/data/{dataset}.safetensors"

    def proxy_file(self, paths: str, proxy_seed: int = 0) -> str:
        """File of a clean proxy."""
        entry = self.config["paths"][paths]
        return f"results/proxy/{entry['dataset']}/{entry['model']}-{entry['recipe']}-{proxy_seed}.safetensors"

    def path_files(self, paths: str) -> list[str]:
        """Files of the traced paths, one for each proxy."""
        return [
            f"results/paths/{paths}/proxy-{seed}.parquet" for seed in range(self.config["paths"][paths]["proxy_seeds"])
        ]

    def path_settings(self, paths: str) -> dict[str, Any]:
        """What tracing depends on."""
        entry = self.config["paths"][paths]
        return {key: entry[key] for key in ("model", "goal", "step_size", "max_steps", "clip")}

    def recipe(self, name: str) -> dict[str, Any]:
        """A recipe's settings."""
        return self.config["recipes"][name]

    def bucket_settings(self, study: str, experiment: str) -> dict[str, Any]:
        """What cutting buckets depends on."""
        entry = self.experiment(study, experiment)
        return {"source_class": entry["flip"]["source"]} | {
            key: entry["buckets"][key] for key in ("count", "scheme", "minimum")
        }

    def bucket_files(self, study: str, experiment: str) -> list[str]:
        """File of an experiment's buckets, if it has any."""
        return (
            [f"results/buckets/{study}/{experiment}.parquet"] if "buckets" in self.experiment(study, experiment) else []
        )

    def model_modules(self, model: str) -> list[str]:
        """Modules whose code a model depends on."""
        return [models.import_path(model).partition(":")[0]]

    # ---------------------------------------------------------------------------------------------------- poison and victims

    def strategy(self, study: str, experiment: str, condition: str) -> strategies.Strategy:
        """The strategy of a condition."""
        return strategies.find(self.condition(study, experiment, condition)["strategy"])

    def strategy_inputs(self, study: str, experiment: str, condition: str) -> list[str]:
        """Files that a strategy needs, in the order in which it names them."""
        files = {"buckets": f"results/buckets/{study}/{experiment}.parquet"}
        return [files[need] for need in self.strategy(study, experiment, condition).needs]

    def strategy_settings(self, study: str, experiment: str, condition: str) -> dict[str, Any]:
        """What crafting a poison depends on."""
        strategy = self.strategy(study, experiment, condition)
        return {
            "name": self.condition(study, experiment, condition)["strategy"],
            "parameters": {**strategy.parameters, **self.condition(study, experiment, condition)["parameters"]},
            "needs": list(strategy.needs),
            "axis_values": self.axis_values(study, experiment, condition),
            "flip": self.experiment(study, experiment)["flip"],
        }

    def axis_values(self, study: str, experiment: str, condition: str) -> list[float | None]:
        """Values of a condition's sweep axis; [None] without one."""
        if self.strategy(study, experiment, condition).axis is None:
            return [None]
        values = self.condition(study, experiment, condition)["values"]
        return values or list(range(self.experiment(study, experiment)["buckets"]["count"]))

    def chunks(self, study: str, experiment: str, condition: str) -> list[Chunk]:
        """Training jobs of a condition: draws × ranges of repeats."""
        own, entry = self.condition(study, experiment, condition), self.experiment(study, experiment)
        draws = self.config["draws"] or own["draws"] or entry["draws"]
        repeats = self.config["repeats"] or own["repeats"] or entry["repeats"]
        size = entry["repeats_per_job"]
        first_draw = self.config["first_draw"]
        if self.strategy(study, experiment, condition).deterministic:
            first_draw, draws = 0, 1
        return [
            Chunk(draw, first, min(first + size, repeats) - 1)
            for draw in range(first_draw, first_draw + draws)
            for first in range(0, repeats, size)
        ]

    def chunk_files(self, study: str, experiment: str, folder: str) -> list[str]:
        """Files of all of an experiment's chunks under results/`folder`."""
        return [
            f"results/{folder}/{study}/{experiment}/{condition}/{chunk.name}.parquet"
            for condition in self.experiment(study, experiment)["conditions"]
            for chunk in self.chunks(study, experiment, condition)
        ]

    def evaluation_settings(self, study: str, experiment: str, condition: str) -> dict[str, Any]:
        """What an evaluation depends on, beside its victims."""
        entry = self.experiment(study, experiment)
        chosen = [*entry["attacks"], *self.condition(study, experiment, condition)["attacks"]]
        return {
            "attacks": {name: self.config["attacks"][name] for name in dict.fromkeys(chosen)},
            "columns": {
                "dataset": entry["dataset"],
                "model": entry["model"],
                "recipe": entry["recipe"],
                "precision": self.config["precision"],
            },
            "source": entry["flip"]["source"],
            "target": entry["flip"]["target"],
        }

    def collect_settings(self, study: str, experiment: str) -> dict[str, Any]:
        """What the tables of an experiment say beside its victims."""
        entry = self.experiment(study, experiment)
        return {
            "experiment": entry,
            "precision": self.config["precision"],
            "axis_names": {name: self.strategy(study, experiment, name).axis or "" for name in entry["conditions"]},
            "axis_values": {name: self.axis_values(study, experiment, name) for name in entry["conditions"]},
        }

    # ------------------------------------------------------------------------------------------ tables, figures, scorecard

    def table_folder(self, study: str, experiment: str) -> str:
        """Folder of an experiment's tables: in this run's results or in the archive."""
        archived = self.config["source"] == "archive"
        return str(self.root / "archive" / study / experiment) if archived else f"results/tables/{study}/{experiment}"

    def _table(self, study: str, experiment: str, table: str) -> str:
        suffix = "csv.gz" if self.config["source"] == "archive" else "parquet"
        return f"{self.table_folder(study, experiment)}/{table}.{suffix}"

    def claim_inputs(self) -> dict[str, dict[str, str]]:
        """Tables that claims may be judged by: "study/experiment" or "paths/name" → table → file.

        From the archive those that are there: a claim whose experiment is not archived counts as not run.
        """
        inputs = {
            f"{study}/{name}": {t: self._table(study, name, t) for t in TABLES} for study, name in self.experiments
        }
        inputs |= {f"paths/{name}": {t: self._table("paths", name, t) for t in SURVEY_TABLES} for name in self.surveys}
        if self.config["source"] == "archive":
            inputs = {
                key: files for key, files in inputs.items() if all(Path(file).is_file() for file in files.values())
            }
        return inputs

    def figure_kind(self, study: str, figure: str) -> FigureKind:
        """Catalogue entry of a figure."""
        return FIGURES[self.figures[study, figure]["kind"]]

    def figure_inputs(self, study: str, figure: str) -> list[str]:
        """Files that a figure is drawn from."""
        return [file for files in self.figure_files(study, figure).values() for file in files]

    def figure_files(self, study: str, figure: str) -> dict[str, list[str]]:
        """Files of each artefact that a figure needs."""
        entry, files = self.figures[study, figure], {}
        for need in self.figure_kind(study, figure).needs:
            if need in TABLES:
                files[need] = [self._table(study, name, need) for name in entry["experiments"]]
            elif need == "extremes":
                files[need] = [f"{self.table_folder('paths', entry['paths'])}/extremes.safetensors"]
            else:
                files[need] = [self._table("paths", entry["paths"], need)]
        return files

    def figure_settings(self, study: str, figure: str) -> dict[str, Any]:
        """What a figure depends on, beside its inputs."""
        entry, kind = self.figures[study, figure], self.figure_kind(study, figure)
        options = dict(entry["options"])
        if entry["experiments"]:
            options["experiments"] = entry["experiments"]
            first = self.experiment(study, entry["experiments"][0])
            names = datasets.class_names(self.config["datasets"][first["dataset"]])
            steps = self.config["paths"][first["buckets"]["paths"]]["step_size"] if "buckets" in first else None
            options |= {"class_names": names, "step_size": steps}
        if entry["paths"]:
            paths = self.config["paths"][entry["paths"]]
            names = datasets.class_names(self.config["datasets"][paths["dataset"]])
            options |= {key: paths[key] for key in ("dataset", "model", "recipe", "step_size")} | {"class_names": names}
        options = {key: value for key, value in options.items() if key in kind.options and value is not None}
        return {"kind": entry["kind"], "options": options, "files": self.figure_files(study, figure)}

    def figure_labels(self, study: str, figure: str) -> dict[str, str]:
        """Labels of a figure in the report."""
        entry = self.figures[study, figure]
        data = {self.experiment(study, name)["dataset"] for name in entry["experiments"]}
        data |= {self.config["paths"][entry["paths"]]["dataset"]} if entry["paths"] else set()
        return {
            "figure": figure,
            "shows": self.figure_kind(study, figure).title,
            "data": ", ".join(sorted(data)) or "—",
        }

    def keep(self, path: str, temporary: Callable[[str], Any]) -> Any:
        """Mark a file as temporary unless victims are kept."""
        return path if self.config["keep_victims"] else temporary(path)

    def resource(self, study: str, experiment: str, condition: str, name: str, default: int) -> int:
        """What a strategy asks for, or the default."""
        return self.strategy(study, experiment, condition).resources.get(name, default)
