"""Where the pipeline lies, and what words of a command line mean to Snakemake."""

import contextlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from poisonlab.errors import InputError

if TYPE_CHECKING:
    from poisonlab.pipeline.plan import Plan

CONFIGURATION = (".yaml", ".yml", ".json")  # endings of its files


def root() -> Path:
    """Folder of the pipeline: the current one, or the one that this package is a part of, or was installed with.

    Raises:
        InputError: there is none.
    """
    places = [Path.cwd(), Path(__file__).resolve().parents[3], Path(sys.prefix, "share", "poisonlab")]
    for place in places:
        if (place / "Snakefile").is_file() and (place / "workflow" / "schemas").is_dir():
            return place
    raise InputError(
        f"there is no pipeline in {' or '.join(map(str, places))}; start the command in a checkout of poisonlab"
    )


def for_snakemake(
    words: Sequence[str],
    *,
    cores: str = "",
    config: Sequence[str] | None = None,
    configfile: Sequence[Path] | None = None,
    study: Sequence[str] | None = None,
    published: bool = False,
    mirror: Path | None = None,
) -> list[str]:
    """Arguments of Snakemake for a command's own options and all other words, which follow unchanged.

    Words before the first option are targets; or, as Snakemake has it, with an equals sign more settings (``--config
    draws=1 repeats=2``), and behind a configuration file more of those.
    """
    if cores and cores != "all" and not (cores.isdecimal() and int(cores) >= 1):
        raise InputError(f"--cores is '{cores}', allowed are all or a number from 1; change it")
    first = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    settings = [*(config or []), *(word for word in words[:first] if "=" in word)]
    files = [
        *(configfile or []),
        *(Path(word) for word in words[:first] if configfile and word.endswith(CONFIGURATION)),
    ]
    targets = [word for word in words[:first] if "=" not in word and Path(word) not in files]
    own = ([f"studies=[{','.join(study)}]"] if study else []) + (["published=true"] if published else [])
    own += [f"mirror={mirror}"] if mirror else []
    rest = words[first:]
    if "-C" in rest:
        raise InputError("-C would take the place of this command's own settings; give them by --config KEY=VALUE")
    arguments = [*targets, *(["--cores", cores] if cores else [])]
    here = root()
    if here != Path.cwd():
        arguments += ["--snakefile", str(here / "Snakefile"), "--workflow-profile", str(here / "profiles" / "default")]
    if files:
        arguments += ["--configfile", *map(str, files)]
    if own or settings:
        arguments += ["--config", *own, *settings]
    return [*arguments, *rest]


def plan_of(arguments: Sequence[str]) -> "Plan":
    """The plan of a run with these arguments of Snakemake.

    Raises:
        InputError: a file or a setting is not allowed.
    """
    from snakemake.cli import parse_args, parse_config
    from snakemake.utils import update_config

    from poisonlab.pipeline.plan import Plan
    from poisonlab.pipeline.run import check_files
    from poisonlab.pipeline.studies import read_yaml

    with contextlib.redirect_stderr(io.StringIO()):
        given = parse_args(list(arguments))[1]
    check_files(given.configfile or [])
    here = root()
    sys.path.append(str(Path.cwd()))  # as the Snakefile does: models and strategies of one's own may lie here
    config: dict[str, Any] = read_yaml(here / "config.yaml")
    for file in given.configfile or []:
        update_config(config, yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {})
    update_config(config, parse_config(given.config))
    return Plan(config, here)
