# `make help` lists what there is. Everything runs in .venv, made from requirements.lock at the first need.

# The first of these that is Python 3.11 to 3.13; `make run PYTHON=/path/to/python` takes another.
PYTHON ?= $(shell for candidate in python3.11 python3.12 python3.13 python3 python; do \
	$$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$candidate && break; done)
VENV := .venv
STAMP := $(VENV)/.installed
TOOLS := .venv-tools

# No tool phones home.
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DVC_NO_ANALYTICS := 1
export DVC_STUDIO_OFFLINE := true
export GIT_PYTHON_REFRESH := quiet

# Some machines forbid compiled modules; each of the pipeline's processes would compile all of them anew.
unexport PYTHONDONTWRITEBYTECODE

# As in tasks/machine/threads.py.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 1000
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# Two processes. After a crash of one, xdist would wait for ever for the one in its place.
PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

# The tests as another machine would run them.
MACHINE = $(if $(CPU)$(THREADS)$(BUSY),python -m tests.machine $(if $(CPU),--cpu $(CPU)) $(if $(THREADS),--threads $(THREADS)) \
	$(if $(BUSY),--busy $(BUSY)) --) python $(PYTEST)

.DEFAULT_GOAL := help
.PHONY: help run test test-busy test-full test-ci test-ray test-onnxruntime coverage crash fuzz lint format types docs sbom audit containers ui serve deploy bench bench-speed bench-check bench-quality findings lock upgrade clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 to 3.13 found; say which with make PYTHON=/path/to/python" >&2; exit 2; }
	@test -x $(VENV)/bin/python || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@VENV=$(VENV) .ci/install
	@touch $@

run: $(STAMP)  ## set up if needed, then the pipeline: from videos to a registered hasher
	@ssvh run

test: $(STAMP)  ## set up if needed, then the tests; CPU=default or avx2 and THREADS=1: with other instructions, fewer threads
	@$(MACHINE) -m "not slow"

test-busy: BUSY := 4
test-busy: test  ## the tests beside four busy processes, which it starts and ends; takes CPU and THREADS too

test-full: $(STAMP)  ## the tests, the slow ones too; takes CPU and THREADS too
	@$(MACHINE)

test-ci: $(STAMP)  ## the tests that every change must pass: all but those that take minutes and are run every night
	@$(MACHINE) -m "not nightly"

test-ray: $(STAMP)  ## the tests of what runs on a Ray cluster; installs Ray, which nothing else needs
	@python -m pip install --quiet --disable-pip-version-check -r .ci/ray.txt
	@python -m pytest -q tests/tasks/extraction/on_ray/test_extractor.py tests/tasks/index/test_on_ray.py

test-onnxruntime: $(STAMP)  ## the tests of backbones in ONNX Runtime; installs it, which nothing else needs
	@python -m pip install --quiet --disable-pip-version-check -r .ci/onnxruntime.txt
	@python -m pytest -q tests/ssvh_model/video/test_engines.py tests/ssvh_model/video/test_own_models.py

coverage: $(STAMP)  ## the tests with a count of the lines that they run, in all processes; build/coverage/index.html shows them
	@coverage erase
	@status=0; COVERAGE_PROCESS_START=pyproject.toml coverage run $(PYTEST) -m "not slow" || status=$$?; \
	coverage combine --quiet && coverage html --quiet && coverage report --format=total; exit $$status

fuzz: $(STAMP)  ## damaged inputs of everything that is read: INPUTS=200 a kind, SEED=1, RESULTS=file for the counts
	@python -m tests.fuzz --inputs $(or $(INPUTS),200) $(if $(SEED),--seed $(SEED)) $(if $(RESULTS),--results "$(RESULTS)")

lint: $(STAMP)  ## style and formatting
	@ruff check .
	@ruff format --check .

format: $(STAMP)  ## mend what `make lint` can mend
	@ruff check --fix .
	@ruff format .

types: $(STAMP)  ## type checks on the three packages
	@mypy

$(TOOLS)/.installed: .ci/tools.txt
	@$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check -r .ci/tools.txt
	@touch $@

docs: $(STAMP)  ## the documentation as a site in build/docs; every link and reference must fit
	@NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true mkdocs build

sbom: $(STAMP) $(TOOLS)/.installed  ## write sbom.json: every package in .venv with version and licence, as CycloneDX
	@$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file sbom.json $(VENV)

audit: $(TOOLS)/.installed  ## look for known weaknesses of the locked packages; .ci/audit-exceptions.toml holds what is let pass
	@$(TOOLS)/bin/python .ci/audit $(TOOLS)/bin/pip-audit

containers: $(TOOLS)/.installed  ## check Dockerfile, compose.yaml and deploy/kubernetes against what Docker and Kubernetes allow
	@$(TOOLS)/bin/hadolint Dockerfile
	@$(TOOLS)/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose*.yaml
	@for file in project jobs servers workers; do $(TOOLS)/bin/kubernetes-validate --quiet --strict deploy/kubernetes/$$file.yaml || exit 1; done

ui: $(STAMP)  ## the Prefect, MLflow and Optuna pages together; ctrl-C ends them
	@ssvh ui

serve: $(STAMP)  ## the search page and its HTTP service in front of the index; ctrl-C ends them
	@ssvh serve

deploy: $(STAMP)  ## register schedules, work pools and automations on the server of PREFECT_API_URL
	@ssvh deploy

bench: $(STAMP)  ## speed and quality against yardsticks
	@for script in benchmarks/*.py; do test -e "$$script" || continue; echo "== $$script"; python "$$script" || exit 1; done

bench-speed: $(STAMP)  ## training, clustering and evaluation beside the straightforward way and the machine's limits; bench-check compares
	@python benchmarks/speed.py

bench-check: $(STAMP)  ## fails if something is clearly slower, beside the straightforward way, than benchmarks/results/speed.json says
	@python benchmarks/speed.py --check

bench-quality: $(STAMP)  ## how good the codes are on six demo corpora; beside WSCH; QUICK=1: in minutes, alone; CORPORA="name=file ..." for others, AGAINST="preset ..." beside others
	@python benchmarks/quality.py --workers 2 $(if $(QUICK),--quick) $(foreach corpus,$(CORPORA),--corpus "$(corpus)") \
	  $(if $(PRESET),--preset $(PRESET)) $(foreach preset,$(or $(AGAINST),$(if $(QUICK),,wsch)),--against $(preset)) --name $(or $(NAME),quality)

crash: $(STAMP)  ## kill the real commands at random moments and run them again; KILLS=20 SEED=1, RESULTS=file
	@python -m tests.crash.campaign --kills $(or $(KILLS),20) $(if $(SEED),--seed $(SEED)) $(if $(RESULTS),--results $(RESULTS))

findings: $(STAMP)  ## measure what docs/explanation/findings.md says again, after `make run`, and write it
	@for name in clustering_cost sampler_picks on_the_fly findings; do python benchmarks/$$name.py || exit 1; done

lock: $(STAMP)  ## write requirements.lock from pyproject.toml, keeping the versions it holds
	@.ci/lock

upgrade: $(STAMP)  ## write requirements.lock with the newest versions
	@.ci/lock --upgrade

clean:  ## remove caches and work in progress; results, records and .venv stay
	@if test -x $(VENV)/bin/ssvh; then $(VENV)/bin/ssvh clean; else rm -rf .work; fi
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
