"""What a configuration makes the pipeline do: tables, figures, claims and pages, above data and victims.

Imports no torch.
"""

import os
import re
from functools import cached_property
from pathlib import Path

from poisonlab.figures import FigureKind
from poisonlab.figures import figure as catalogue
from poisonlab.figures.captions import named as called
from poisonlab.figures.columns import ADVERSARIAL
from poisonlab.pipeline.configuration import Config
from poisonlab.pipeline.experiment_names import FURTHER, TABLES
from poisonlab.pipeline.multiverses import Multiverses

SURVEYED = ("lengths", "issues", "nets")  # tables of analyses that claims about paths are judged by
_OF_EXPERIMENTS = (*TABLES, *FURTHER, "maps")  # what figures show of experiments
_NAMED = ("dataset", "proxy", "paths", "buckets", "analysis", "poison", "experiment", "multiverse", "figure")
WILDCARDS = {  # wildcard → pattern of its values
    **dict.fromkeys(_NAMED, "[A-Za-z][A-Za-z0-9_]*"),
    "study": "[a-z][a-z_0-9]*",
    "draw": r"\d+",
    "chunk": r"draws-\d+-\d+_repeats-\d+-\d+",
    "variant": "[A-Za-z][A-Za-z0-9_-]*",
    "part": r"\d+-\d+",
}
FIGURES_PER_JOB = 16  # drawing takes a second, starting a job two


def published_number(figure: str) -> str:
    """Number of a published figure or table by the name of its file: "fig_4_6b" is "Fig. 4.6b", any other has none."""
    number = re.fullmatch(r"(fig|table)_(\d+|[a-z])_(\d+[a-z]?)", figure)
    return f"{'Fig.' if number[1] == 'fig' else 'Table'} {number[2].upper()}.{number[3]}" if number else ""


class Plan(Multiverses):
    """A checked configuration, and what follows from it for each rule."""

    # ----------------------------------------------------------------------------------------------------------------
    # tables

    def collect_inputs(self, study: str, experiment: str) -> dict[str, list[str]]:
        """Files that the tables of an experiment are made of."""
        buckets = self.buckets_of(study, experiment)
        return {
            "victims": self.chunk_files(study, experiment, "victims"),
            "robustness": self.chunk_files(study, experiment, "robustness"),
            "probes": self.chunk_files(study, experiment, "probes"),
            "buckets": [self.bucket_file(buckets)] if buckets else [],
            "data": [self.data_file(self.dataset(study, experiment))],
        }

    def table_folder(self, study: str, experiment: str) -> str:
        """Folder of an experiment's tables: in this run's results or in the archive."""
        return (
            str(self.root / "archive" / study / experiment) if self.archive else f"results/tables/{study}/{experiment}"
        )

    def _artefact(self, study: str, experiment: str, need: str) -> str:
        """File of an experiment's table or of its maps."""
        suffix = "safetensors" if need == "maps" else "csv.gz" if self.archive else "parquet"
        return f"{self.table_folder(study, experiment)}/{need}.{suffix}"

    def experiment_tables(self) -> list[str]:
        """The last table of every experiment that runs."""
        return [f"results/tables/{study}/{name}/robustness.parquet" for study, name in self.experiments]

    def other_tables(self) -> list[str]:
        """Maps of the experiments that run, and tables of the analyses that are shown or judged."""
        maps = [file for key in self.experiments for file in self.map_files(*key)]
        further = [
            f"results/tables/{study}/{name}/{table}.parquet"
            for study, name in self.experiments
            for table in FURTHER
            if self.experiment(study, name)[table]
        ]
        judged = [self.multiverse_table(*key) for key in self.multiverses]
        return maps + further + [self.analysis_table(name) for name in self.analyses] + judged

    def archived_tables(self) -> list[str]:
        """What there is to archive: tables that exist, and with `only_finished` those of experiments of which something
        is finished.
        """
        finished = set(self.experiment_tables()) if self.config["only_finished"] else set()
        files = [*self.experiment_tables(), *(self.analysis_table(name) for name in self.analyses)]
        files += [self.multiverse_table(*key) for key in self.multiverses]
        return [file for file in files if file in finished or Path(file).is_file()]

    def archived_bucket_files(self) -> dict[str, str]:
        """ "study/experiment" → file of its buckets, of the experiments that have some."""
        named = {key: self.buckets_of(*key) for key in self.experiments}
        return {"/".join(key): self.bucket_file(name) for key, name in named.items() if name}

    @cached_property
    def analyses(self) -> list[str]:
        """Names of the analyses that figures show and claims are judged by."""
        shown = {name for key in self.drawn for name in self.figures[key]["analyses"]}
        return sorted(shown | self._judged_analyses())

    # ---------------------------------------------------------------------------------------------------------------
    # documents

    @property
    def titles(self) -> dict[str, str]:
        """Study → its title."""
        return {study: self.config[study]["title"] or study for study in self.folders}

    @property
    def labels(self) -> dict[str, dict[str, str]]:
        """Study → name of a condition, experiment or data set → what readers see instead."""
        return {study: self.config[study]["labels"] for study in self.folders}

    @property
    def documents(self) -> str:
        """Folder of figures, pages and scorecard: those from the archive belong to the documentation."""
        return "docs" if self.archive else "results"

    @cached_property
    def figures(self) -> dict[tuple[str, str], Config]:
        """(study, figure) → configuration, for every figure that can be asked for; of the archive, with the experiments
        that it holds.
        """
        entries = {
            (study, name): entry for study in self.folders for name, entry in self.config[study]["figures"].items()
        }
        if self.archive:
            entries = {(study, name): self._archived_part(study, entry) for (study, name), entry in entries.items()}
        return entries

    def _archived_part(self, study: str, entry: Config) -> Config:
        """Configuration of a figure without the experiments that are not archived; as it is where none is."""
        needs = [need for need in catalogue.find(entry["kind"]).needs if need in _OF_EXPERIMENTS]
        there = [
            name
            for name in entry["experiments"]
            if all(Path(self._artefact(study, name, need)).is_file() for need in needs)
        ]
        return {**entry, "experiments": there} if there else entry

    @cached_property
    def drawn(self) -> list[tuple[str, str]]:
        """(study, figure) of everything that is drawn by default: figures whose experiments all run, or are all
        archived.
        """
        if self.archive:
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
            if ({(key[0], name) for name in entry["experiments"]} <= runs or not self._shows_victims(*key))
            and {(key[0], name) for name in entry["multiverses"]} <= set(self.multiverses)
        ]

    def _shows_victims(self, study: str, figure: str) -> bool:
        """Whether a figure is drawn from trained victims, or from data, poisons and analyses alone."""
        return bool(set(_OF_EXPERIMENTS) & set(self.figure_kind(study, figure).needs))

    def figure_kind(self, study: str, figure: str) -> FigureKind:
        """Catalogue entry of a figure."""
        return catalogue.find(self.figures[study, figure]["kind"])

    def figure_inputs(self, study: str, figure: str) -> list[str]:
        """Files that a figure is drawn from."""
        return [file for files in self.figure_files(study, figure).values() for file in files]

    def figure_files(self, study: str, figure: str) -> dict[str, list[str]]:
        """Files of each artefact that a figure needs."""
        entry, files = self.figures[study, figure], {}
        for need in self.figure_kind(study, figure).needs:
            if need in _OF_EXPERIMENTS:
                files[need] = [self._artefact(study, name, need) for name in entry["experiments"]]
            elif need == "specifications":
                files[need] = [self.multiverse_table(study, name) for name in entry["multiverses"]]
            elif need == "data":
                files[need] = [self.data_file(self.dataset(study, entry["experiments"][0]))]
            elif need == "poisons":
                files[need] = [self.first_poison(study, entry["experiments"][0], entry["options"].get("condition"))]
            else:
                tables = [self.analysis_table(name) for name in entry["analyses"] if need == self.analysis(name).table]
                arrays = [
                    self.analysis_arrays(name) for name in entry["analyses"] if need == self.analysis(name).arrays
                ]
                files[need] = tables or arrays[:1]
        return files

    def first_poison(self, study: str, experiment: str, condition: str | None = None) -> str:
        """File of the first draw of a condition's poison, by default of one with a sweep, archived or not."""
        poisons = self.experiment(study, experiment)["poisons"]
        names = [own["poison"] for name, own in poisons.items() if condition in (None, name)]
        return self.poison_file(study, next((name for name in names if self.sweep(study, name)[0]), names[0]), 0)

    def figure_settings(self, study: str, figure: str) -> Config:
        """What a figure depends on, beside the content of its inputs."""
        entry, kind = self.figures[study, figure], self.figure_kind(study, figure)
        options = dict(entry["options"])
        options["labels"] = {**self.config[study]["labels"], **options.get("labels", {})}
        if shown := entry["experiments"]:
            options["experiments"] = shown
            options["lines"] = {name: options.get("lines", {}).get(name, {}) for name in shown}
            options["class_names"] = self.class_names(self.dataset(study, shown[0]))
            options["headlines"] = {name: self.experiment(study, name)["headline"] for name in shown}
            if paths := self.probe_paths(study, shown[0]):
                options |= {key: self.config["paths"][paths][key] for key in ("step_size", "clip")}
        if entry["analyses"]:
            options |= self._analysis_options(entry["analyses"][0])
        options = {key: value for key, value in options.items() if key in kind.parameters and value is not None}
        return {
            "kind": entry["kind"],
            "options": options,
            "note": " ".join(filter(None, [entry["note"], self._drawn_once(study, figure)])),
            "files": self.figure_files(study, figure),
            "target": f"{self.documents}/figures/{study}/{figure}",
            "version": self.version("draw_figures", kind.module),
        }

    def _drawn_once(self, study: str, figure: str) -> str:
        """What a caption says of conditions that have one draw only."""
        entry = self.figures[study, figure]
        if not self._shows_victims(study, figure):
            return ""
        labels = {**self.config[study]["labels"], **entry["options"].get("labels", {})}
        once = [(name, one) for name in entry["experiments"] for one in self.drawn_once(study, name)]
        options = {**self.figure_kind(study, figure).parameters, **entry["options"]}
        kept = [one for name, one in once if self._shown(study, name, one, options)]
        # Strategies of one kind: of many the first ones tell which.
        names = list(dict.fromkeys(called(one, labels) for one in kept))
        shown = [*names[:3], *([f"{len(names) - 3} more"] if len(names) > 3 else [])]
        return f"One draw, for nothing is left to chance: {'; '.join(shown)}." if names else ""

    def _shown(self, study: str, experiment: str, condition: str, options: Config) -> bool:
        """Whether a figure's options leave a condition in: by name, and by an attack that its victims met."""
        own = self.conditions(study, experiment)[condition]
        met = [*self.experiment(study, experiment)["attacks"], *own["attacks"]]
        chosen = options.get("conditions") or [options.get("condition") or condition]
        attacks = options.get("attack") or met
        return condition in chosen and not {*met}.isdisjoint([attacks] if isinstance(attacks, str) else attacks)

    @property
    def notes(self) -> list[str]:
        """What a run says before it begins: which conditions have fewer draws than asked for."""
        found = {key: names for key in self.experiments if (names := self.drawn_once(*key))}
        return [
            f"{study}.experiments.{name}: one draw instead of several of {', '.join(names)}, whose strategy leaves "
            "nothing to chance"
            for (study, name), names in found.items()
        ]

    def _analysis_options(self, name: str) -> Config:
        """What a caption says of an analysis: its data, its proxy's model and recipe, how paths were traced."""
        entry = self.config["analyses"][name]
        options: Config = {}
        if dataset := self.analysis_dataset(name):
            options |= {"dataset": dataset, "class_names": self.class_names(dataset)}
        if proxy := self.analysis_proxy(name):
            options |= {key: self.config["proxies"][proxy][key] for key in ("model", "recipe")}
        if paths := entry["needs"].get("paths"):
            options |= {key: self.config["paths"][paths][key] for key in ("step_size", "clip")}
        return options

    @property
    def figure_batches(self) -> list[tuple[str, int]]:
        """(study, number) of the jobs that draw figures."""
        counts = {study: sum(own == study for own, _ in self.drawn) for study in self.folders}
        return [(study, n) for study, count in counts.items() for n in range(-(-count // FIGURES_PER_JOB))]

    def _batch(self, study: str, number: int) -> list[str]:
        own = [name for one, name in self.drawn if one == study]
        return own[number * FIGURES_PER_JOB : (number + 1) * FIGURES_PER_JOB]

    def batch_inputs(self, study: str, number: int) -> list[str]:
        """Files that a job's figures are drawn from."""
        return list(
            dict.fromkeys(file for name in self._batch(study, number) for file in self.figure_inputs(study, name))
        )

    def batch_figures(self, study: str, number: int) -> list[Config]:
        """What a job's figures depend on, beside the content of their inputs."""
        return [self.figure_settings(study, name) for name in self._batch(study, number)]

    def batch_files(self, study: str, number: int, *suffixes: str) -> list[str]:
        """Files of a job's figures."""
        folder = f"{self.documents}/figures/{study}"
        return [f"{folder}/{name}.{suffix}" for name in self._batch(study, number) for suffix in suffixes]

    def figure_report(self, study: str, file: str) -> Config:
        """Where a figure stands in Snakemake's report."""
        name = Path(file).stem
        return {
            "category": study,
            "subcategory": published_number(name) or "support",
            "labels": self.figure_labels(study, name),
            # A job draws many figures: no template could tell which one it stands under.
            "caption": str(Path(file).with_suffix(".txt").absolute()),
        }

    def figure_title(self, study: str, figure: str) -> str:
        """Title of a figure."""
        return self.figures[study, figure]["title"] or self.figure_kind(study, figure).title

    def figure_labels(self, study: str, figure: str) -> dict[str, str]:
        """Labels of a figure in the report."""
        entry = self.figures[study, figure]
        data = {self.dataset(study, name) for name in entry["experiments"]}
        data |= {self.analysis_dataset(name) or name for name in entry["analyses"]}
        return {"figure": figure, "shows": self.figure_title(study, figure), "data": ", ".join(sorted(data)) or "—"}

    # ------------------------------------------------------------------------------------------------------ claims and
    # pages

    def claim_files(self) -> dict[str, str]:
        """Study → file of its registered claims, of the studies that have some."""
        files = {study: folder / "claims.yaml" for study, folder in self.folders.items()}
        # Relative, so that a folder that is moved stays up to date.
        return {study: os.path.relpath(file) for study, file in files.items() if file.is_file()}

    def claims_of(self, study: str) -> list[str]:
        """File of a study's claims, if it has some."""
        return [file for own, file in self.claim_files().items() if own == study]

    def claim_modules(self) -> list[str]:
        """Modules of the studies' own relations."""
        text = "".join(Path(file).read_text(encoding="utf-8") for file in self.claim_files().values())
        return sorted(set(re.findall(r"\brelation: *[\"']?([\w.]+):", text)))

    @cached_property
    def surveys(self) -> dict[str, dict[str, str]]:
        """ "paths/name" → table → analysis: what is known of paths and of the proxies on which they are traced."""
        found: dict[str, dict[str, str]] = {}
        for paths, traced in self.config["paths"].items():
            for name, entry in self.config["analyses"].items():
                own = paths == entry["needs"].get("paths") or traced["proxy"] == entry["proxy"]
                if own and (table := self.analysis(name).table) in SURVEYED:
                    found.setdefault(f"paths/{paths}", {})[table] = name
        return found

    def _judged_analyses(self) -> set[str]:
        """Names of the analyses that registered claims are about."""
        text = "".join(Path(file).read_text(encoding="utf-8") for file in self.claim_files().values())
        named = set(re.findall(r"\bpaths/\w+", text))
        return {name for key, tables in self.surveys.items() if key in named for name in tables.values()}

    def claim_inputs(self) -> dict[str, dict[str, str]]:
        """Tables that claims may be judged by: "study/experiment" or "paths/name" → table → file.

        From the archive those that are there: a claim whose experiment is not archived counts as not run.
        """
        inputs = {
            f"{study}/{name}": {table: self._artefact(study, name, table) for table in TABLES}
            for study, name in self.experiments
        }
        judged = self._judged_analyses()
        for key, tables in self.surveys.items():
            files = {table: self.analysis_table(name) for table, name in tables.items() if name in judged}
            inputs |= {key: files} if files else {}
        if self.archive:
            inputs = {
                key: files for key, files in inputs.items() if all(Path(file).is_file() for file in files.values())
            }
        return inputs

    def survey_of(self, analysis: str) -> str:
        """What claims call the survey that an analysis belongs to; its own name where it belongs to none."""
        return next((key for key, tables in self.surveys.items() if analysis in tables.values()), analysis)

    def headlines(self) -> dict[str, Config | None]:
        """ "study/experiment" → attack, radius and column that count when nothing else is said."""
        return {f"{study}/{name}": self.experiment(study, name)["headline"] for study, name in self.experiments}

    def compared(self, study: str) -> dict[str, dict[str, str]]:
        """Tables of a study's experiments that have random points and another strategy beside them, as `claim_inputs`
        gives them; of those whose headline is what an attack leaves.
        """
        chosen = {}
        for key, files in self.claim_inputs().items():
            own, _, name = key.partition("/")
            if own == study and (self.experiment(study, name)["headline"] or {}).get("column") in (None, ADVERSARIAL):
                conditions = self.conditions(study, name).values()
                strategies = {self.poison(study, entry["poison"])["strategy"] for entry in conditions}
                if "random" in strategies and strategies - {"random", "none"}:
                    chosen[key] = files
        return chosen
