"""``poisonlab run``: the pipeline."""

import sys
from pathlib import Path
from typing import Annotated

import typer

Cores = Annotated[str, typer.Option(metavar="N", help="Processors to use.")]
Config = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A setting, such as draws=1; more follow.")]
ConfigFile = Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Settings in a file; again for another.")]
Study = Annotated[list[str] | None, typer.Option(metavar="NAME", help="A study, or its folder; again for another.")]
Published = Annotated[bool, typer.Option("--published", help="The published data, budgets and repeats.")]
Mirror = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder with data sets already downloaded.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be done.")]


def run(
    context: typer.Context,
    config: Config = None,
    configfile: ConfigFile = None,
    study: Study = None,
    cores: Cores = "all",
    published: Published = False,
    mirror: Mirror = None,
    dry_run: DryRun = False,
) -> None:
    """Run the pipeline: everything, or the TARGETS (files, rules) that come first.

    Every other option is Snakemake's, and follows these.
    """
    from poisonlab.cli.project import for_snakemake
    from poisonlab.pipeline.run import main

    arguments = for_snakemake(
        context.args,
        cores=cores,
        config=config,
        configfile=configfile,
        study=study,
        published=published,
        mirror=mirror,
    )
    sys.exit(main([*arguments, *(["--dry-run"] if dry_run else [])]))
