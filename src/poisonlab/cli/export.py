"""``poisonlab export``: poisons and victims as files that other programs read."""

from pathlib import Path
from typing import Annotated

import typer

from poisonlab.cli.run import Config, Study

app = typer.Typer(help="Write a poison or a victim as a file for other programs.", no_args_is_help=True)

Data = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The data set that it was crafted for; default: found in results/.")
]
Value = Annotated[float | None, typer.Option(metavar="NUMBER", help="Of a sweep: which value of it.")]
Key = Annotated[str | None, typer.Option("--victim", metavar="NAME", help="Which of the file's victims.")]
Out = Annotated[Path, typer.Argument(metavar="OUT")]
File = Annotated[Path, typer.Argument(metavar="FILE")]


@app.command()
def poison(file: File, out: Out, data: Data = None, value: Value = None) -> None:
    """Write a poison, results/poisons/….safetensors, as OUT: .csv or .npz.

    A .csv has a row for each point: its index, its label and the new one. An .npz is the whole poisoned data set.
    """
    from poisonlab.poisons.exports import export_poison

    print(export_poison(file, out, data, value))


@app.command()
def victim(file: File, out: Out, config: Config = None, study: Study = None, victim: Key = None) -> None:
    """Write a victim, results/victims/….safetensors, as OUT: .pt or .pt2.

    A .pt holds the weights, a state_dict. A .pt2 is the whole network, which torch.export.load reads without its code.
    """
    from poisonlab.cli.project import for_snakemake, plan_of
    from poisonlab.errors import InputError
    from poisonlab.victims.exports import export_victim

    if len(file.parts) < 4:
        raise InputError(
            f"'{file}' is no victim's file; give results/victims/<study>/<experiment>/<victim>/….safetensors"
        )
    plan = plan_of(for_snakemake([], config=config, study=study or [file.parts[-4]]))
    print(export_victim(plan, file, out, victim))
