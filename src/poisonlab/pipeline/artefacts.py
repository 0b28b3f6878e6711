"""Files of data, proxies, paths, buckets, needs and analyses, and the parameters that their jobs depend on.

Imports no torch.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from poisonlab import models
from poisonlab.analyses import Analysis, analysis
from poisonlab.datasets import sources
from poisonlab.datasets.own import listing
from poisonlab.errors import InputError
from poisonlab.pipeline.code_version import code_version
from poisonlab.pipeline.configuration import Config, check
from poisonlab.pipeline.references import class_names
from poisonlab.poisons.needs import need
from poisonlab.victims.recipe import modules as recipe_modules

Method = TypeVar("Method", bound=Callable[..., Any])


def remembered(method: Method) -> Method:
    """A method that works out once what it answers to its arguments: a configuration that is checked does not change,
    and planning thousands of jobs asks the same for each. What it reads of files is as it was when first asked. Nobody
    may change an answer.
    """

    @wraps(method)
    def remembering(self: Any, *arguments: Any) -> Any:
        answers = self.__dict__.setdefault(f"_{method.__name__}_remembered", {})
        if arguments not in answers:
            answers[arguments] = method(self, *arguments)
        return answers[arguments]

    return remembering  # type: ignore[return-value]


class Artefacts:
    """A checked configuration, and the files of everything that needs no poison."""

    def __init__(self, config: Mapping[str, Any], root: Path) -> None:
        self.root = root
        self.config, self.folders = check(config, root)

    @remembered
    def version(self, script: str, *modules: str) -> str:
        """Version of the code behind an adapter: its file and everything that it imports from the package."""
        return code_version(self.root / "workflow" / "scripts" / f"{script}.py", *modules)

    @property
    def archive(self) -> bool:
        """Whether figures and verdicts come from the archive."""
        return self.config["source"] == "archive"

    @property
    def gpu(self) -> int:
        """GPUs of a training or evaluation job."""
        return int(self.config["device"] == "cuda")

    def require_device(self, jobs_run_here: bool) -> None:
        """Refuse `device: cuda` on a machine without a GPU, where jobs could only fail.

        Called before the first job: Snakemake deletes a job's old results as it starts. A cluster's jobs run where the
        GPUs are. Torch is asked in a process of its own, because only jobs import it.

        Raises:
            InputError: there is no GPU that torch can use.
        """
        if jobs_run_here and self.config["device"] == "cuda":
            probe = "import sys, torch; sys.exit(not torch.cuda.is_available())"
            if subprocess.run([sys.executable, "-c", probe], stderr=subprocess.DEVNULL, check=False).returncode:
                raise InputError(
                    "device 'cuda' is not there, this machine offers 'cpu'; set device: auto or device: cpu"
                )

    # -----------------------------------------------------------------------------------------------------------------
    # - data

    def data_file(self, dataset: str) -> str:
        """File of a prepared data set; of features, which a proxy makes, in a folder of their own."""
        folder = "features" if self.config["datasets"][dataset]["source"] == "features" else "data"
        return f"results/{folder}/{dataset}.safetensors"

    def data_inputs(self, dataset: str) -> list[str]:
        """Files that a data set is prepared from."""
        specification = self.config["datasets"][dataset]
        if sources.SOURCES[specification["source"]].kind == "torchvision":
            return [f"results/raw/{specification['source']}"]
        if specification["source"] not in ("npz", "table"):
            return []
        given = [key for key in ("path", "test_path") if specification.get(key) is not None]
        return [str(sources.expanded(specification[key], f"datasets.{dataset}.{key}")) for key in given]

    def feature_inputs(self, dataset: str) -> dict[str, str]:
        """Files that features are made of: the data set whose points they are of, and a proxy."""
        entry = self.config["datasets"][dataset]
        return {"data": self.data_file(entry["of"]), "proxy": self.proxy_file(entry["proxy"])}

    def feature_modules(self, dataset: str) -> list[str]:
        """What builds the net of features, as `code_version` takes it."""
        return self.model_modules(self.config["proxies"][self.config["datasets"][dataset]["proxy"]]["model"])

    def user_files(self, dataset: str) -> list[tuple[str, int, int]]:
        """Names, sizes and times of the files of an image folder: a change of the folder prepares the data set
        again.
        """
        specification = self.config["datasets"][dataset]
        if specification["source"] != "folder":
            return []
        return listing(sources.expanded(specification["path"], f"datasets.{dataset}.path"))

    def class_names(self, dataset: str) -> tuple[str, ...]:
        """Names of a data set's classes."""
        return class_names(self.config, dataset)

    # ----------------------------------------------------------------------------------------------------- models and
    # recipes

    def model(self, name: str) -> Any:
        """Specification of a model: an entry of `models`, or a name of the catalogue."""
        return self.config["models"].get(name, name)

    def specification(self, name: str) -> Config:
        """A model with the values of all its parameters, which travel with whatever is trained."""
        model, parameters = models.parse(self.model(name), f"model '{name}'")
        return {"model": model, **parameters}

    def recipe(self, name: str) -> Config:
        """What a model is trained with, beside its precision."""
        return {key: value for key, value in self.config["recipes"][name].items() if key != "precision"}

    def precision(self, recipe: str) -> str:
        """Arithmetic of training by a recipe."""
        return self.config["recipes"][recipe]["precision"]

    def model_modules(self, model: str) -> list[str]:
        """What builds a model, as `code_version` takes it."""
        return [models.import_path(self.model(model))]

    def training(self, model: str, recipe: str) -> Config:
        """What a trained model depends on, beside its data and its seed."""
        return {
            "model": self.specification(model),
            "recipe": self.recipe(recipe),
            "precision": self.precision(recipe),
            "kernels": self.config["kernels"],
            "device": self.config["device"],
        }

    # ------------------------------------------------------------------------------------------------------ proxies
    # and paths

    def proxy_file(self, proxy: str) -> str:
        """File of a clean proxy: all seeds, at every age at which they are kept."""
        return f"results/proxies/{proxy}.safetensors"

    def proxy_settings(self, proxy: str) -> Config:
        """What a proxy depends on, beside its data and its seed."""
        entry = self.config["proxies"][proxy]
        return {**self.training(entry["model"], entry["recipe"]), "seeds": entry["seeds"], "ages": entry["ages"]}

    def proxy_modules(self, proxy: str) -> list[str]:
        """What builds and trains a proxy beside the engines, as `code_version` takes it."""
        settings = self.proxy_settings(proxy)
        return [*self.model_modules(self.config["proxies"][proxy]["model"]), *recipe_modules(settings["recipe"])]

    def answers_file(self, proxy: str) -> str:
        """File of features and logits of all training points by the first proxy."""
        return f"results/answers/{proxy}.safetensors"

    def path_file(self, paths: str) -> str:
        """File of the traced paths on all seeds of a proxy."""
        return f"results/paths/{paths}.parquet"

    def path_settings(self, paths: str) -> Config:
        """What tracing depends on, beside its proxy."""
        return {key: self.config["paths"][paths][key] for key in ("goal", "step_size", "max_steps", "clip")}

    def proxy_of_paths(self, paths: str) -> Config:
        """Configuration of the proxy on which paths are traced."""
        return self.config["proxies"][self.config["paths"][paths]["proxy"]]

    def bucket_file(self, buckets: str) -> str:
        """File of a table of buckets."""
        return f"results/buckets/{buckets}.parquet"

    def bucket_settings(self, buckets: str) -> Config:
        """What cutting buckets depends on."""
        entry = self.config["buckets"][buckets]
        return {"source_class": entry["source"]} | {key: entry[key] for key in ("count", "scheme", "minimum")}

    # ---------------------------------------------------------------------------------------------------------------
    # analyses

    def need_files(self, needs: Mapping[str, str]) -> list[str]:
        """Files of artefacts, need → name."""
        return [file for kind, name in needs.items() for file in need.find(kind).files(self, name)]

    def need_counts(self, needs: Mapping[str, str]) -> dict[str, int]:
        """How many of the files of `need_files` belong to each need."""
        return {kind: len(need.find(kind).files(self, name)) for kind, name in needs.items()}

    def need_modules(self, needs: Mapping[str, str]) -> list[str]:
        """What reads artefacts, as `code_version` takes it: a need may be one of a study's own."""
        return sorted({need.find(kind).module for kind in needs})

    def analysis(self, name: str) -> Analysis:
        """Catalogue entry of an analysis of the configuration."""
        return analysis.find(self.config["analyses"][name]["analysis"])

    def analysis_dataset(self, name: str) -> str | None:
        """The data set that an analysis is of, directly or through its proxy or its paths."""
        entry = self.config["analyses"][name]
        if entry["dataset"]:
            return entry["dataset"]
        if entry["proxy"]:
            return self.config["proxies"][entry["proxy"]]["dataset"]
        for kind, used in entry["needs"].items():
            section = need.find(kind).section
            if section == "proxies":
                return self.config["proxies"][used]["dataset"]
            if section == "paths":
                return self.proxy_of_paths(used)["dataset"]
        return None

    def analysis_proxy(self, name: str) -> str | None:
        """Name of the proxy that an analysis uses, directly or through its paths."""
        entry = self.config["analyses"][name]
        paths = entry["needs"].get("paths")
        return entry["proxy"] or (self.config["paths"][paths]["proxy"] if paths else None)

    def analysis_inputs(self, name: str) -> list[str]:
        """Files that an analysis reads: its data set, if it has one, then those of its needs."""
        dataset = self.analysis_dataset(name) if self.analysis(name).of else None
        return ([self.data_file(dataset)] if dataset else []) + self.need_files(self.config["analyses"][name]["needs"])

    def analysis_settings(self, name: str) -> Config:
        """What an analysis depends on, beside its files."""
        entry, kind = self.config["analyses"][name], self.analysis(name)
        settings = {
            "analysis": entry["analysis"],
            "parameters": kind.settings(entry["parameters"], f"analyses.{name}"),
            "needs": self.need_counts(entry["needs"]),
            "names": entry["needs"],
            "of": kind.of,
        }
        if kind.of == "proxy":
            proxy = self.config["proxies"][entry["proxy"]]
            settings["training"] = self.training(proxy["model"], entry["recipe"] or proxy["recipe"])
        return settings

    def analysis_modules(self, name: str) -> list[str]:
        """What an analysis runs, as `code_version` takes it."""
        entry, kind = self.config["analyses"][name], self.analysis(name)
        own = [f"{kind.module}:{kind.function.__name__}", *self.need_modules(entry["needs"])]
        if kind.of != "proxy":
            return own
        proxy = self.config["proxies"][entry["proxy"]]
        recipe = self.recipe(entry["recipe"] or proxy["recipe"])
        return [*own, *self.model_modules(proxy["model"]), *recipe_modules(recipe)]

    def analysis_resource(self, name: str, resource: str, default: int) -> int:
        """What an analysis's job asks for, or the default."""
        return self.resource(self.analysis(name).resources, resource, default)

    def analysis_table(self, name: str) -> str:
        """File of an analysis's table: in this run's results or in the archive."""
        if self.archive:
            return str(self.root / "archive" / "analyses" / name / "table.csv.gz")
        return f"results/tables/analyses/{name}/table.parquet"

    def analysis_arrays(self, name: str) -> str:
        """File of an analysis's arrays."""
        folder = self.root / "archive" / "analyses" if self.archive else Path("results/tables/analyses")
        return str(folder / name / "arrays.safetensors")

    def resource(self, resources: Mapping[str, int], name: str, default: int) -> int:
        """What a job asks for, or the default; a GPU only where there is to be one."""
        return (
            self.gpu
            if name == "gpu" and resources.get("gpu")
            else int(resources.get(name, default) if name != "gpu" else 0)
        )

    def keep(self, path: str, temporary: Callable[[str], Any]) -> Any:
        """Mark a file as temporary unless victims are kept."""
        return path if self.config["keep_victims"] else temporary(path)
