"""The way of the data, from a data set to figures, scorecard and report. Start with `make reproduce`; README.md says more."""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")

# Not `workflow.basedir`: where another Snakefile uses this one as a module, that is the other's folder.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
sys.path.insert(0, str(ROOT / "src"))
# Models and strategies of your own may lie in the working directory; jobs inherit this path. Last, so that they hide no library.
sys.path.append(str(Path.cwd()))

from poisonlab.errors import InputError
from poisonlab.pipeline.jobs import jobs_die_with_this_process
from poisonlab.pipeline.plan import WILDCARDS, Plan
from poisonlab.pipeline.run import work_here
from poisonlab.pipeline.studies import merged, read_yaml
from poisonlab.pipeline.targets import check_targets

jobs_die_with_this_process()
if workflow.is_main_process:
    work_here()


configfile: str(ROOT / "config.yaml")


report: "workflow/report/workflow.rst"


container: "docker://python:3.11-slim"  # used only where containers are switched on


# A module's configuration takes the place of the file's above; it is laid over it here, as a user's is.
try:
    plan = Plan(merged(read_yaml(ROOT / "config.yaml"), config), ROOT)
except InputError as error:
    raise WorkflowError(str(error))


onstart:
    plan.require_device(workflow.is_main_process and workflow.local_exec)
    logger.info("\n".join(plan.notes))


wildcard_constraints:
    **WILDCARDS,


include: "workflow/rules/data.smk"
include: "workflow/rules/proxy.smk"
include: "workflow/rules/paths.smk"
include: "workflow/rules/analyses.smk"
include: "workflow/rules/poison.smk"
include: "workflow/rules/victims.smk"
include: "workflow/rules/robustness.smk"
include: "workflow/rules/maps.smk"
include: "workflow/rules/points.smk"
include: "workflow/rules/checks.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/multiverses.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/pages.smk"


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.scorecard.input,
        rules.pages.input,


if workflow.is_main_process:
    check_targets(workflow, plan)
