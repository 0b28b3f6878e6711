"""``poisonlab new``: a working skeleton with its test."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Write a working skeleton with its test.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME")]
Folder = Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")]


@app.command()
def strategy(name: Name, folder: Folder = Path()) -> None:
    """Write NAME.py, a strategy of your own, and test_NAME.py.

    docs/own_strategy.md says what a strategy is asked for.
    """
    from poisonlab.pipeline.skeletons import strategy as files

    _written(files(name), folder)


@app.command()
def study(name: Name, folder: Folder = Path()) -> None:
    """Write NAME/study.yaml, a study of your own, and test_NAME.py.

    config/README.md describes every key of a study.
    """
    from poisonlab.pipeline.skeletons import study as files

    _written(files(name), folder)


def _written(files: dict[str, str], folder: Path) -> None:
    from poisonlab.pipeline.skeletons import write

    for path in write(files, folder):
        print(path)
