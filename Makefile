# make reproduce   set up, run the default configuration, write figures, tables, scorecard and report
# make test        set up, run the tests
# make published   the published data sets, budgets and repeats (hours to days; stop and start it as you like)
# make archive     merge the tables of the published run into archive/, and copy the benchmark there
# make session     run what the archive lacks, the most valuable first, for MINUTES, and archive it: for a machine that is lent
# make benchmark   compare the engines and attacks with what a user would pick instead (about 25 minutes)
# make site        write the documentation as a site into site/
# make documents   draw the figures and judge the claims of docs/ anew from archive/, without training

CORES ?= all
ARGS ?=
MINUTES ?= 14
CONFIGS ?=
VENV := .venv
BIN := $(VENV)/bin
RUN = $(BIN)/python -m poisonlab.pipeline.run --cores $(CORES)
# Behind ARGS: Snakemake takes every word that follows it for a file, and of an option that is given twice the last alone.
PUBLISHED = $(call without,--configfile --configfiles,CONFIGS=<files>)--configfile config/published.yaml $(CONFIGS)
without = $(if $(filter $(1),$(ARGS)),$(error ARGS holds $(filter $(1),$(ARGS)), which would take the place of this target's own; use $(2)))

.PHONY: reproduce published archive session benchmark documents site test lint requirements clean

reproduce: $(VENV)/ready
	$(RUN) $(ARGS)
	$(BIN)/snakemake $(ARGS) --quiet all --report results/report.html

published: $(VENV)/ready
	$(RUN) $(ARGS) $(PUBLISHED)

archive: $(VENV)/ready
	$(RUN) archive $(ARGS) $(PUBLISHED)
	if [ -f results/benchmark.json ]; then cp results/benchmark.json archive/; fi

session: $(VENV)/ready
	$(BIN)/python -m poisonlab.pipeline.session --minutes $(MINUTES) --cores $(CORES) $(ARGS)

benchmark: $(VENV)/ready
	$(BIN)/python -m poisonlab.benchmark.measure $(ARGS)
	$(BIN)/python -m poisonlab.benchmark.report results/benchmark.json results

documents: $(VENV)/ready
	$(call without,--config -C,snakemake as in docs/scaling.md)rm -f docs/figures/*/.drawn-*
	$(RUN) figures scorecard pages --forcerun judge_claims write_page write_index --config source=archive $(ARGS)
	$(BIN)/python -m poisonlab.benchmark.report archive/benchmark.json docs

site: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "site/index.html; with its search: $(BIN)/python -m http.server -d site"

test: lint
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/ready
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/mypy
	$(BIN)/snakemake --quiet all --lint

# uv takes the standard wheels and checks every hash. It compiles them too: no process would keep its bytecode where
# PYTHONDONTWRITEBYTECODE is set.
$(VENV)/ready: requirements.txt pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<1"
	$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements.txt
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python --editable .
	touch $@

requirements:
	$(BIN)/uv pip compile --quiet --generate-hashes pyproject.toml --extra test -o requirements.txt

clean:
	rm -rf results/[a-z]* .snakemake
