"""``poisonlab status``: what is done, what runs, what has failed, and how long the rest takes."""

import os
from pathlib import Path

import typer

from poisonlab.cli.run import Config, ConfigFile, Mirror, Published, Study


def status(
    context: typer.Context,
    config: Config = None,
    configfile: ConfigFile = None,
    study: Study = None,
    published: Published = False,
    mirror: Mirror = None,
) -> None:
    """Say what of a run is done, runs or has failed, and the time left.

    Without options, of the last run in this folder.
    """
    from poisonlab.cli.budget import basis, spelt
    from poisonlab.cli.project import for_snakemake, plan_of
    from poisonlab.figures.captions import counted
    from poisonlab.pipeline.progress import state_of_run
    from poisonlab.pipeline.rates import known, seconds
    from poisonlab.pipeline.steps import pending, steps, work

    state = state_of_run(Path.cwd())
    arguments = for_snakemake(
        context.args, config=config, configfile=configfile, study=study, published=published, mirror=mirror
    )
    if arguments == for_snakemake([]):
        arguments = list(state.arguments) or arguments
    plan, found = plan_of(arguments), steps(arguments)
    left = pending(found)
    print(f"done     {len(found) - len(left)} of {len(found)} steps")
    running = "; ".join(state.running) or ("nothing yet" if state.active else "nothing: no run works here")
    print(f"running  {running}")
    for failed in state.failed:
        print(f"failed   {failed}")
    if not left:
        print("left     nothing")
        return
    rates, files = known(plan)
    total = sum(seconds(rates, step.rule, work(plan, step)) for step in left)
    cores = state.cores or os.cpu_count() or 1
    steps_left, on = counted(len(left), "step"), counted(cores, "core")
    print(f"left     {steps_left}, about {spelt(total / cores)} on {on} (from {basis(files)})")
