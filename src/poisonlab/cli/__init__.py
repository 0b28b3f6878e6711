"""The command line: a module for each command, which imports what it needs when it is called."""

import sys

import typer

from poisonlab.cli import audit, budget, export, new, run, status
from poisonlab.errors import InputError

# Every word of Snakemake's goes on to it unchanged.
HANDS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    help="What can a few wrong labels do to a model? Poison, train, attack, compare.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(audit.audit)
app.command(context_settings=HANDS_ON)(run.run)
app.command(context_settings=HANDS_ON)(status.status)
app.command(context_settings=HANDS_ON)(budget.budget)
app.add_typer(export.app, name="export")
app.add_typer(new.app, name="new")


def main() -> None:
    """Run a command; what a person can repair is said in one line."""
    try:
        app(prog_name="poisonlab")
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
