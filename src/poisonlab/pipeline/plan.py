"""What a configuration makes the pipeline do: the files of a run, and the parameters that each job depends on. Imports no torch."""

import csv
import gzip
import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from poisonlab import models
from poisonlab.datasets import sources
from poisonlab.errors import InputError
from poisonlab.figures import FIGURES, FigureKind
from poisonlab.pipeline.code_version import code_version
from poisonlab.pipeline.configuration import Config, check
from poisonlab.poisons import strategies

TABLES = ("conditions", "victims", "robustness")
PROBED_POINTS = 500  # test points at which a victim's local Lipschitz constants are estimated
SURVEY_TABLES = ("lengths", "issues")
ANALYSIS_TABLES = ("runs", "cover", "degrees", "scores")


@dataclass(frozen=True)
class Chunk:
    """Some draws and repeats: one training job, of all conditions that have them."""

    draws: range
    repeats: range

    @property
    def name(self) -> str:
        """Its part of a file name."""
        return f"draws-{span(self.draws)}_repeats-{span(self.repeats)}"


def span(numbers: range) -> str:
    """Write a range into a file name, "0-7"; `jobs.numbers` reads it."""
    return f"{numbers[0]}-{numbers[-1]}"


def published_number(figure: str) -> str:
    """Number of a published figure by the name of its file: "fig_4_6b" is "Fig. 4.6b", any other name has none."""
    number = re.fullmatch(r"fig_(\d+|[a-z])_(\d+[a-z]?)", figure)
    return f"Fig. {number[1].upper()}.{number[2]}" if number else ""


def _parts(count: int, size: int) -> list[range]:
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


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
        chosen = [
            (study, name) for study in self.config["studies"] for name in self.config.get(study, {}).get("run", [])
        ]
        return [key for key in chosen if self.jobs(*key)]

    @cached_property
    def archived(self) -> dict[tuple[str, str], set[tuple[str, float | None, int, int]]]:
        """(study, experiment) → (condition, axis value, draw, repeat) of every victim that the archive holds."""
        victims = {}
        for table in (self.root / "archive").glob("*/*/victims.csv.gz"):
            with gzip.open(table, "rt") as rows:  # not with pandas, which every job would import to read the plan
                victims[table.parts[-3], table.parts[-2]] = {
                    (
                        row["condition"],
                        float(value) if (value := row["axis_value"]) else None,
                        int(row["draw"]),
                        int(row["repeat"]),
                    )
                    for row in csv.DictReader(rows)
                }
        return victims

    @cached_property
    def figures(self) -> dict[tuple[str, str], dict[str, Any]]:
        """(study, figure) → configuration, for every figure that can be asked for; of the archive, with the experiments that it holds."""
        sections = {study: self.config.get(study, {}).get("figures", {}) for study in self.config["studies"]}
        entries = {(study, name): entry for study, section in sections.items() for name, entry in section.items()}
        if self.config["source"] == "archive":
            entries = {(study, name): self._archived_part(study, entry) for (study, name), entry in entries.items()}
        return entries

    def _archived_part(self, study: str, entry: dict[str, Any]) -> dict[str, Any]:
        """Configuration of a figure without the experiments that are not archived; as it is where none is."""
        needs = [need for need in FIGURES[entry["kind"]].needs if need in (*TABLES, "maps")]
        there = [
            name
            for name in entry["experiments"]
            if all(Path(self._artefact(study, name, need)).is_file() for need in needs)
        ]
        return {**entry, "experiments": there} if there else entry

    @cached_property
    def drawn(self) -> list[tuple[str, str]]:
        """(study, figure) of everything that is drawn by default: figures whose experiments all run, or are all archived."""
        if self.config["source"] == "archive":
            # Data and poisons are made again where they are needed: that takes no training.
            return [
                key
                for key in self.figures
                if all(
                    Path(file).is_file() for file in self.figure_inputs(*key) if Path(file).is_relative_to(self.root)
                )
            ]
        runs = set(self.experiments)
        return [
            key
            for key, entry in self.figures.items()
            if {(key[0], name) for name in entry["experiments"]} <= runs or not self._shows_victims(*key)
        ]

    def _shows_victims(self, study: str, figure: str) -> bool:
        """Whether a figure is drawn from trained victims, or from data and poisons alone."""
        return not {"data", "poisons"} >= set(self.figure_kind(study, figure).needs)

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
        if sources.SOURCES[specification["source"]].kind == "torchvision":
            return [f"results/raw/{specification['source']}"]
        return [str(Path(specification["path"]).expanduser())] if specification["source"] == "npz" else []

    def redraw(self, study: str, experiment: str) -> dict[str, Any] | None:
        """Options of the toy whose training set every draw draws anew, None where the training set stays."""
        entry = self.experiment(study, experiment)
        name = entry["dataset"]
        return sources.options_of(name, self.config["datasets"][name]) if entry["redraw"] else None

    def user_files(self, dataset: str) -> list[tuple[str, int, int]]:
        """Names, sizes and times of the files of an image folder: a change of the folder prepares the data set again."""
        specification = self.config["datasets"][dataset]
        if specification["source"] != "folder":
            return []
        folder = Path(specification["path"]).expanduser()
        files = ((file, file.stat()) for file in sorted(folder.rglob("*")) if file.is_file())
        return [(str(file.relative_to(folder)), state.st_size, state.st_mtime_ns) for file, state in files]

    def data_file(self, dataset: str) -> str:
        """File of a prepared data set."""
        return f"results/data/{dataset}.safetensors"

    def proxy_file(self, paths: str, proxy_seed: int = 0) -> str:
        """File of a clean proxy."""
        entry = self.config["paths"][paths]
        return f"results/proxy/{entry['dataset']}/{entry['model']}-{entry['recipe']}-{proxy_seed}.safetensors"

    def proxy_files(self, paths: str) -> list[str]:
        """Files of all clean proxies of a survey."""
        return [self.proxy_file(paths, number) for number in range(self.config["paths"][paths]["proxy_seeds"])]

    def survey_tables(self, paths: str) -> tuple[str, ...]:
        """Names of the tables of a survey."""
        return (*SURVEY_TABLES, "nets") if self.config["paths"][paths]["example"] else SURVEY_TABLES

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
        """What a model is trained with, beside its precision."""
        return {key: value for key, value in self.config["recipes"][name].items() if key != "precision"}

    def precision(self, recipe: str) -> str:
        """Arithmetic of training by a recipe."""
        return self.config["recipes"][recipe]["precision"] or self.config["precision"]

    def bucket_settings(self, study: str, experiment: str) -> dict[str, Any]:
        """What cutting buckets depends on."""
        entry = self.experiment(study, experiment)
        return {"source_class": entry["flip"]["source"]} | {
            key: entry["buckets"][key] for key in ("count", "scheme", "minimum")
        }

    def archived_buckets(self, study: str, experiment: str) -> Path:
        """Where the archive has an experiment's buckets, if it has them."""
        return self.root / "archive" / study / experiment / "buckets.csv.gz"

    def bucket_source(self, study: str, experiment: str) -> str:
        """What buckets come from: paths on the first clean proxy, or the archived buckets where an archived run is continued."""
        archived = self.archived_buckets(study, experiment)
        if self.config["skip_archived"] and archived.is_file():
            return str(archived)
        return f"results/paths/{self.experiment(study, experiment)['buckets']['paths']}/proxy-0.parquet"

    def bucket_files(self, study: str, experiment: str) -> list[str]:
        """File of an experiment's buckets, if it has any."""
        return (
            [f"results/buckets/{study}/{experiment}.parquet"] if "buckets" in self.experiment(study, experiment) else []
        )

    def model_modules(self, model: str) -> list[str]:
        """What builds a model, as `code_version` takes it."""
        return [models.import_path(model)]

    # ---------------------------------------------------------------------------------------------------- poison and victims

    def strategy(self, study: str, experiment: str, condition: str) -> strategies.Strategy:
        """The strategy of a condition."""
        return strategies.find(self.condition(study, experiment, condition)["strategy"])

    def strategy_inputs(self, study: str, experiment: str, condition: str) -> list[str]:
        """Files that a strategy needs, in the order in which it names them."""
        answers = f"results/features/{self.experiment(study, experiment)['features']}.safetensors"
        files = {
            "buckets": f"results/buckets/{study}/{experiment}.parquet",
            "features": answers,
            "logits": answers,
            "colours": f"results/tables/graphs/{self.experiment(study, experiment)['colouring']}/scores.parquet",
        }
        return [files[need] for need in self.strategy(study, experiment, condition).needs]

    def strategy_settings(self, study: str, experiment: str, condition: str) -> dict[str, Any]:
        """What crafting a poison depends on."""
        entry = self.condition(study, experiment, condition)
        return {
            "name": entry["strategy"],
            "parameters": entry["parameters"],
            "needs": list(self.strategy(study, experiment, condition).needs),
            "axis_values": self.axis_values(study, experiment, condition),
            "flip": self.experiment(study, experiment)["flip"],
        }

    def axis_values(self, study: str, experiment: str, condition: str) -> list[float | None]:
        """Values of a condition's sweep axis; [None] without one."""
        if self.strategy(study, experiment, condition).axis is None:
            return [None]
        values = self.condition(study, experiment, condition)["values"]
        return values or list(range(self.experiment(study, experiment)["buckets"]["count"]))

    def jobs(self, study: str, experiment: str) -> dict[Chunk, list[str]]:
        """Training jobs of an experiment: ranges of draws × ranges of repeats, with the conditions that have them, by name.

        With `only_finished` those whose victims are trained, evaluated and, where they are to be, probed.
        """
        jobs: dict[Chunk, list[str]] = {}
        for name in sorted(self.experiment(study, experiment)["conditions"]):
            for chunk in self.chunks(study, experiment, name):
                jobs.setdefault(chunk, []).append(name)
        if not self.config["only_finished"]:
            return jobs
        files = {chunk: self._files(study, experiment, chunk, conditions) for chunk, conditions in jobs.items()}
        return {
            chunk: jobs[chunk] for chunk, made in files.items() if all(Path(file).is_file() for file in made.values())
        }

    def chunks(self, study: str, experiment: str, condition: str) -> list[Chunk]:
        """Ranges of draws × ranges of repeats of a condition that are to be trained, as narrow as what the archive lacks of them."""
        chunks = self._all_chunks(study, experiment, condition)
        if not self.config["skip_archived"]:
            return chunks
        if (
            self.strategy(study, experiment, condition).axis == "bucket"
            and not self.archived_buckets(study, experiment).is_file()
        ):
            return chunks  # paths that are traced here would cut other buckets than those of the archived victims
        archived, values = self.archived.get((study, experiment), set()), self.axis_values(study, experiment, condition)
        lacking = [
            [
                (draw, repeat)
                for draw, repeat in itertools.product(chunk.draws, chunk.repeats)
                if not archived.issuperset((condition, value, draw, repeat) for value in values)
            ]
            for chunk in chunks
        ]
        return [
            Chunk(*(range(min(numbers), max(numbers) + 1) for numbers in zip(*left, strict=True)))
            for left in lacking
            if left
        ]

    def _all_chunks(self, study: str, experiment: str, condition: str) -> list[Chunk]:
        own, entry = self.condition(study, experiment, condition), self.experiment(study, experiment)
        draws = self.config["draws"] or own["draws"] or entry["draws"]
        repeats = self.config["repeats"] or own["repeats"] or entry["repeats"]
        if self.strategy(study, experiment, condition).deterministic and not entry["redraw"]:
            draws = 1
        parts = _parts(draws, entry["draws_per_job"]), _parts(repeats, entry["repeats_per_job"])
        return [Chunk(*part) for part in itertools.product(*parts)]

    def chunk_files(self, study: str, experiment: str, folder: str) -> list[str]:
        """Files of all of an experiment's chunks under results/`folder`: victims, robustness or probes."""
        files = [self._files(study, experiment, *job) for job in self.jobs(study, experiment).items()]
        return [made[folder] for made in files if folder in made]

    def _files(self, study: str, experiment: str, chunk: Chunk, conditions: list[str]) -> dict[str, str]:
        """Tables of a chunk by their folder; there is nothing to probe around a clean victim."""
        probed = self.experiment(study, experiment)["probes"] and any(
            self.condition(study, experiment, name)["strategy"] != "none" for name in conditions
        )
        name = f"{study}/{experiment}/{'+'.join(conditions)}/{chunk.name}.parquet"
        folders = ("victims", "robustness", "probes") if probed else ("victims", "robustness")
        return {folder: f"results/{folder}/{name}" for folder in folders}

    def poison_files(self, study: str, experiment: str, conditions: str, draws: str) -> list[str]:
        """Files of the poisons of a job's conditions, "clean+random", in their order."""
        folder = f"results/poisons/{study}/{experiment}"
        return [f"{folder}/{condition}/draws-{draws}.safetensors" for condition in conditions.split("+")]

    def evaluation_settings(self, study: str, experiment: str, conditions: str) -> dict[str, Any]:
        """What an evaluation depends on, beside its victims."""
        entry = self.experiment(study, experiment)
        chosen = {
            name: [*entry["attacks"], *self.condition(study, experiment, name)["attacks"]]
            for name in conditions.split("+")
        }
        return {
            "attacks": {
                condition: {name: self.config["attacks"][name] for name in dict.fromkeys(names)}
                for condition, names in chosen.items()
            },
            "columns": {
                "dataset": entry["dataset"],
                "model": entry["model"],
                "recipe": entry["recipe"],
                "precision": self.precision(entry["recipe"]),
            },
            "source": entry["flip"]["source"],
            "target": entry["flip"]["target"],
        }

    def probe_proxy(self, study: str, experiment: str) -> list[str]:
        """File of the clean proxy along whose paths victims are probed, if the experiment has one."""
        entry = self.experiment(study, experiment)
        return [self.proxy_file(entry["buckets"]["paths"])] if "buckets" in entry else []

    def probe_settings(self, study: str, experiment: str) -> dict[str, Any]:
        """What probes depend on, beside their victims."""
        entry = self.experiment(study, experiment)
        paths = self.path_settings(entry["buckets"]["paths"]) if "buckets" in entry else {}
        return {"model": entry["model"], "paths": paths, "points": PROBED_POINTS}

    def collect_settings(self, study: str, experiment: str) -> dict[str, Any]:
        """What the tables of an experiment say beside its victims."""
        entry = self.experiment(study, experiment)
        return {
            "experiment": entry,
            "precision": self.precision(entry["recipe"]),
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

    def _artefact(self, study: str, experiment: str, need: str) -> str:
        """File of an experiment's table or of its maps."""
        if need == "maps":
            return f"{self.table_folder(study, experiment)}/maps.safetensors"
        return self._table(study, experiment, need)

    def claim_inputs(self) -> dict[str, dict[str, str]]:
        """Tables that claims may be judged by: "study/experiment" or "paths/name" → table → file.

        From the archive those that are there: a claim whose experiment is not archived counts as not run.
        """
        inputs = {
            f"{study}/{name}": {t: self._table(study, name, t) for t in TABLES} for study, name in self.experiments
        }
        inputs |= {
            f"paths/{name}": {t: self._table("paths", name, t) for t in self.survey_tables(name)}
            for name in self.surveys
        }
        if self.config["source"] == "archive":
            there = {
                key: {t: file for t, file in files.items() if Path(file).is_file()} for key, files in inputs.items()
            }
            inputs = {key: files for key, files in there.items() if set(files) >= set(inputs[key]) - {"nets"}}
        return inputs

    def compared(self, study: str) -> dict[str, dict[str, str]]:
        """Tables of a study's experiments that have random points and another strategy beside them, as `claim_inputs` gives them."""
        chosen = {}
        for key, files in self.claim_inputs().items():
            own, _, name = key.partition("/")
            if own == study:
                entries = self.experiment(study, name)["conditions"].values()
                strategies_ = {entry["strategy"] for entry in entries}
                if "random" in strategies_ and strategies_ - {"random", "none"}:
                    chosen[key] = files
        return chosen

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
            if need in (*TABLES, "maps"):
                files[need] = [self._artefact(study, name, need) for name in entry["experiments"]]
            elif need == "data":
                files[need] = [self.data_file(self.experiment(study, entry["experiments"][0])["dataset"])]
            elif need == "poisons":
                files[need] = [self.first_poison(study, entry["experiments"][0])]
            elif need in ("runs", "cover"):
                files[need] = [self._table("bounds", entry["bound"], need)]
            elif need in ("degrees", "scores"):
                files[need] = [self._table("graphs", entry["graphs"], need)]
            elif need == "idea":
                files[need] = [f"{self.table_folder('graphs', entry['graphs'])}/idea.safetensors"]
            elif need in ("extremes", "example"):
                files[need] = [f"{self.table_folder('paths', entry['paths'])}/{need}.safetensors"]
            else:
                files[need] = [self._table("paths", entry["paths"], need)]
        return files

    def first_poison(self, study: str, experiment: str) -> str:
        """File of the first poisons of an experiment's condition with a sweep axis, whether its victims are archived or not."""
        for name in sorted(self.experiment(study, experiment)["conditions"]):
            if self.strategy(study, experiment, name).axis:
                first = self._all_chunks(study, experiment, name)[0]
                return self.poison_files(study, experiment, name, span(first.draws))[0]
        raise InputError(
            f"{study}.experiments.{experiment} has no condition with a sweep axis, whose poisons a figure could show"
        )

    def first_chunk(self, study: str, experiment: str) -> dict[str, str]:
        """Condition that maps are drawn of, and the files and repeats of its first job that trains, by what they hold."""
        mapped = self._mapped(study, experiment)
        for chunk, conditions in self.jobs(study, experiment).items():
            for name in conditions:
                if name in mapped:
                    (poison,) = self.poison_files(study, experiment, name, span(chunk.draws))
                    folder = f"results/victims/{study}/{experiment}/{'+'.join(conditions)}"
                    return {
                        "condition": name,
                        "poison": poison,
                        "victims": f"{folder}/{chunk.name}.safetensors",
                        "repeats": span(chunk.repeats),
                    }
        raise InputError(
            f"{study}.experiments.{experiment} has no condition with a sweep axis and victims to train, of which maps could be drawn"
        )

    def _mapped(self, study: str, experiment: str) -> list[str]:
        """Conditions whose victims may be mapped: those with a sweep axis, and where there are buckets that of the buckets."""
        entry = self.experiment(study, experiment)
        axes = {name: self.strategy(study, experiment, name).axis for name in entry["conditions"]}
        return [name for name, axis in axes.items() if (axis == "bucket" if "buckets" in entry else axis)]

    def map_files(self, study: str, experiment: str) -> list[str]:
        """File of the maps of an experiment's first victims, if it has any and they are trained here."""
        entry = self.experiment(study, experiment)
        trained = {name for conditions in self.jobs(study, experiment).values() for name in conditions}
        there = entry["maps"] and trained.intersection(self._mapped(study, experiment))
        return [f"results/tables/{study}/{experiment}/maps.safetensors"] if there else []

    def analysis_files(self) -> list[str]:
        """Tables of theorems and graphs that the figures show."""
        files = [
            self.figure_files(*key) for key in self.drawn if self.figures[key]["bound"] or self.figures[key]["graphs"]
        ]
        return sorted({file for own in files for need in ANALYSIS_TABLES for file in own.get(need, [])})

    def graph_data(self, graphs: str) -> str:
        """File of the data set whose graphs these are."""
        return self.data_file(self.config["paths"][self.config["graphs"][graphs]["paths"]]["dataset"])

    def colouring_settings(self, graphs: str) -> dict[str, Any]:
        """What the scores of a colouring depend on; as many nets as the experiments that use it, run or not, have draws."""
        entry = self.config["graphs"][graphs]
        nets = [
            chunk.draws.stop
            for study in self.config["studies"]
            for experiment, own in self.config.get(study, {}).get("experiments", {}).items()
            if own["colouring"] == graphs
            for condition in own["conditions"]
            if "colours" in self.strategy(study, experiment, condition).needs
            for chunk in self._all_chunks(study, experiment, condition)
        ]
        model = self.config["paths"][entry["paths"]]["model"]
        return {**entry["colouring"], "model": model, "nets": max(nets, default=1)}

    def figure_settings(self, study: str, figure: str) -> dict[str, Any]:
        """What a figure depends on, beside its inputs."""
        entry, kind = self.figures[study, figure], self.figure_kind(study, figure)
        options = dict(entry["options"])
        if entry["experiments"]:
            options["experiments"] = entry["experiments"]
            options["lines"] = {name: options.get("lines", {}).get(name, {}) for name in entry["experiments"]}
            first = self.experiment(study, entry["experiments"][0])
            names = sources.class_names(self.config["datasets"][first["dataset"]])
            options["class_names"] = names
            if "buckets" in first:
                options |= {key: self.config["paths"][first["buckets"]["paths"]][key] for key in ("step_size", "clip")}
        if entry["paths"]:
            paths = self.config["paths"][entry["paths"]]
            names = sources.class_names(self.config["datasets"][paths["dataset"]])
            options |= {key: paths[key] for key in ("dataset", "model", "recipe", "step_size", "clip")}
            options["class_names"] = names
        if entry["graphs"]:
            graphs = self.config["graphs"][entry["graphs"]]
            dataset = self.config["paths"][graphs["paths"]]["dataset"]
            options |= {"dataset": dataset, "class_names": sources.class_names(self.config["datasets"][dataset])}
        if entry["bound"] in self.config["covers"]:
            options["dataset"] = self.config["covers"][entry["bound"]]["dataset"]
        options = {key: value for key, value in options.items() if key in kind.options and value is not None}
        files = self.figure_files(study, figure)
        return {"kind": entry["kind"], "options": options, "note": entry["note"], "files": files}

    def page_figures(self, study: str) -> list[dict[str, Any]]:
        """What a study's page says of every figure, in their order there: the fields of `page.Picture` but for its caption."""
        return [
            {
                "name": name,
                "title": self.figure_title(own, name),
                "published": published_number(name),
                "source": self._figure_source(own, name),
                "claims": self.figures[own, name]["claims"],
                "tables": self._shown_tables(own, name),
            }
            for own, name in self.drawn
            if own == study
        ]

    def _shown_tables(self, study: str, figure: str) -> list[str]:
        """Tables that a figure shows, as claims name them."""
        entry = self.figures[study, figure]
        shown = [f"{study}/{name}" for name in entry["experiments"]]
        return [*shown, f"paths/{entry['paths']}"] if entry["paths"] else shown

    def _figure_source(self, study: str, figure: str) -> str:
        """What a figure draws again."""
        own = self.figures[study, figure]["source"]
        return self.figure_kind(study, figure).source if own is None else own

    def figure_title(self, study: str, figure: str) -> str:
        """Title of a figure."""
        return self.figures[study, figure]["title"] or self.figure_kind(study, figure).title

    def figure_labels(self, study: str, figure: str) -> dict[str, str]:
        """Labels of a figure in the report."""
        entry = self.figures[study, figure]
        data = {self.experiment(study, name)["dataset"] for name in entry["experiments"]}
        data |= {self.config["paths"][entry["paths"]]["dataset"]} if entry["paths"] else set()
        data |= {entry[key] for key in ("bound", "graphs") if entry[key]}
        return {
            "figure": figure,
            "shows": self.figure_title(study, figure),
            "data": ", ".join(sorted(data)) or "—",
        }

    def keep(self, path: str, temporary: Callable[[str], Any]) -> Any:
        """Mark a file as temporary unless victims are kept."""
        return path if self.config["keep_victims"] else temporary(path)

    def resource(self, study: str, experiment: str, condition: str, name: str, default: int) -> int:
        """What a strategy asks for, or the default."""
        return self.strategy(study, experiment, condition).resources.get(name, default)
