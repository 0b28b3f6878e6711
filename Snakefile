"""The way of the data, from a data set to figures, scorecard and report. Start with `make reproduce`; README.md says more."""

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "src"))
# Models and strategies of your own may lie in the working directory; jobs inherit this path. Last, so that they hide no library.
sys.path.append(str(Path.cwd()))

from poisonlab.errors import InputError
from poisonlab.pipeline.jobs import jobs_die_with_this_process
from poisonlab.pipeline.plan import Plan, published_number

jobs_die_with_this_process()


configfile: str(ROOT / "config.yaml")


# What is archived are runs of the published configuration.
if config.get("source") == "archive":

    configfile: str(ROOT / "config" / "published.yaml")


report: "workflow/report/workflow.rst"


# Used only where containers are switched on.
container: "docker://python:3.11-slim"


try:
    plan = Plan(config, ROOT)
except InputError as error:
    raise WorkflowError(str(error))


onstart:
    plan.require_device(workflow.is_main_process and workflow.local_exec)


wildcard_constraints:
    study="[a-z_0-9]+",
    dataset="[A-Za-z][A-Za-z0-9_]*",
    paths="[A-Za-z][A-Za-z0-9_]*",
    experiment="[A-Za-z][A-Za-z0-9_]*",
    condition="[A-Za-z][A-Za-z0-9_]*",
    conditions="[A-Za-z][A-Za-z0-9_+]*",
    figure="[A-Za-z][A-Za-z0-9_]*",
    bound="[A-Za-z][A-Za-z0-9_]*",
    graphs="[A-Za-z][A-Za-z0-9_]*",
    model=r"[A-Za-z0-9_.:]+",
    recipe="[A-Za-z][A-Za-z0-9_]*",
    proxy_seed=r"\d+",
    draws=r"\d+-\d+",
    repeats=r"\d+-\d+",


include: "workflow/rules/data.smk"
include: "workflow/rules/proxy.smk"
include: "workflow/rules/paths.smk"
include: "workflow/rules/poison.smk"
include: "workflow/rules/victims.smk"
include: "workflow/rules/robustness.smk"
include: "workflow/rules/probes.smk"
include: "workflow/rules/bounds.smk"
include: "workflow/rules/graphs.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.scorecard.input,
        rules.pages.input,
