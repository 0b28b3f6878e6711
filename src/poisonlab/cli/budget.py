"""``poisonlab budget``: victims, core-hours and disk, before anything starts."""

import os

import typer

from poisonlab.cli.run import Config, ConfigFile, Mirror, Published, Study


def budget(
    context: typer.Context,
    config: Config = None,
    configfile: ConfigFile = None,
    study: Study = None,
    published: Published = False,
    mirror: Mirror = None,
) -> None:
    """Say what a run would train and take: victims, core-hours, disk.

    Give what `poisonlab run` would be given.
    """
    from poisonlab.cli.project import for_snakemake, plan_of
    from poisonlab.pipeline.rates import known
    from poisonlab.pipeline.spending import spending
    from poisonlab.pipeline.steps import pending, steps

    arguments = for_snakemake(
        context.args, config=config, configfile=configfile, study=study, published=published, mirror=mirror
    )
    plan, left = plan_of(arguments), pending(steps(arguments))
    rates, files = known(plan)
    spent = spending(plan, left, rates)
    cores = os.cpu_count() or 1
    print(f"steps       {len(left)}")
    print(f"victims     {spent.victims}")
    print(f"core-hours  {spent.seconds / 3600:.2g}, about {spelt(spent.seconds / cores)} on {cores} cores")
    print(f"disk        {size(spent.bytes)}")
    print(f"basis       {basis(files)}")
    for note in spent.notes:
        print(f"unknown     {note}")


def basis(files: int) -> str:
    """What an estimate rests on."""
    return (
        f"{files} benchmark files of this folder"
        if files
        else "rates of another machine, for there are no benchmark files here"
    )


def spelt(seconds: float) -> str:
    """Write a time: "40 s", "7 min", "3 h", "2 days"."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:.0f} days"


def size(count: float) -> str:
    """Write a number of bytes: "40 kB", "7 MB", "3 GB"."""
    for limit, unit, name in ((1e6, 1e3, "kB"), (1e9, 1e6, "MB")):
        if count < limit:
            return f"{count / unit:.0f} {name}"
    return f"{count / 1e9:.1f} GB"
