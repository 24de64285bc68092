# `make demo` runs the benchmark on the embedded structures, `make test` checks everything. Both set up .venv
# first, from locks of exact versions, and need nothing but python3 (3.11 or newer, with venv) and a package index.

PYTHON ?= python3
# One version, without a hash: its CPU and CUDA builds differ, and an index may hold either. Without the pin
# pip takes the newest, which comes with gigabytes of CUDA libraries.
TORCH := torch==2.13.0
# Snakemake's source cache stays in the clone.
RUN := XDG_CACHE_HOME="$(CURDIR)/.snakemake/cache" PATH="$(CURDIR)/.venv/bin:$$PATH"

# Two tests at a time; tests/conftest.py says which stay together. In their order: the longest come first.
PYTEST := pytest --numprocesses=2 --dist=loadscope --no-loadscope-reorder

.PHONY: setup setup-dev demo tiny envs test test-alone test-fast test-faults test-slurm test-slurm-demo slurm-installed test-real test-browser lint lock generated clean \
  lint-alone docs image release-notes

# Installs, and runs nothing: what the workflow needs; with what testing needs.
setup: .venv/installed
setup-dev: .venv/installed-dev

demo: .venv/installed
	$(RUN) snakemake
	@echo
	@cat results/tables/table1.md
	@echo
	@echo "Report: results/report/index.html"

# Everything from structures to page in a minute, on so few images that nothing is learned. Results in .test/results.
tiny: .venv/installed
	rm -rf .test/results
	$(MAKE) .test/results/report/index.html

.test/results/report/index.html: .venv/installed
	$(RUN) snakemake --directory .test --cores 2

# Lint, which has work for one processor, runs beside the tests. Either failing fails the whole.
test: .venv/installed-dev
	$(MAKE) --no-print-directory --jobs=2 lint test-alone

test-alone: .venv/installed-dev
	$(RUN) $(PYTEST) tests/workflow tests/house tests/unit

# The inner loop: no training, no Snakemake.
test-fast: .venv/installed-dev
	$(RUN) $(PYTEST) tests/unit -m "not training"

# Everything that can go wrong, tried on purpose: full disks, kills, damaged and hostile files. Ends at the first wrong.
test-faults: .venv/installed-dev
	$(RUN) $(PYTEST) --maxfail=1 tests/faults

# On a real SLURM, which is installed and started here; without root it is skipped and says so.
test-slurm: slurm-installed
	$(RUN) $(PYTEST) tests/slurm -m 'not demo'

# The same for the whole demo, which must have the same tables there as on this machine.
test-slurm-demo: slurm-installed
	$(RUN) pytest tests/slurm -m demo

slurm-installed: .venv/installed-dev
	@if [ "$$(id -u)" = 0 ] && ! { command -v slurmctld && command -v munged; } > /dev/null; then \
	  apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge > /dev/null; fi

# Against programs that were not written here; those that are not installed are skipped, and say so.
test-real: .venv/installed-dev envs build/envs/roc-validator/installed .test/results/report/index.html
	$(RUN) $(PYTEST) tests/real

# The demo's page in a real browser; screenshots are left in build/screenshots.
test-browser: .venv/installed-dev demo
	@command -v chromium > /dev/null || [ -n "$$CHROMIUM" ] || \
	  { echo "make: no chromium; on Debian: apt-get install chromium (or name one in CHROMIUM)" >&2; exit 1; }
	$(RUN) pytest tests/browser

lint: .venv/installed-dev
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) snakemake --lint
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) python docs/architecture.py --check
	$(RUN) actionlint
	$(RUN) check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

# As the workflow catalog reads it: Snakemake with what it brings itself, at the version of the lock, and not this package.
lint-alone: build/alone/installed
	XDG_CACHE_HOME="$(CURDIR)/.snakemake/cache" build/alone/bin/snakemake --lint

build/alone/installed: requirements.lock
	$(PYTHON) -m venv build/alone
	build/alone/bin/pip install --quiet --disable-pip-version-check --constraint requirements.lock snakemake
	@touch $@

# The site of documents, in build/site; what its builder warns of, broken links among it, is an error.
docs: .venv/installed-dev
	$(RUN) mkdocs build --strict --quiet --site-dir build/site

# A container image, and the smallest run in it without a network; container/build.sh says what it takes.
image:
	sh container/build.sh

# The text of a release: the changelog's section of the code's version. TAG=v... must be that of the version.
release-notes:
	@mkdir -p build
	$(PYTHON) docs/release_notes.py $(TAG) > build/release-notes.md

# What is written from the code: schema and tables of settings and keys, the rooms and their picture. Tests fail where
# they are stale.
generated: .venv/installed-dev
	$(RUN) python -m hydra_bench.methods.hydra.settings_tables
	$(RUN) python -m hydra_bench.config.key_tables docs/reference/configuration.md
	$(RUN) python docs/architecture.py
	$(RUN) python docs/metrics.py
	$(RUN) python docs/commands.py
	$(RUN) python envs/environments.py

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is older than 3.11; name a newer one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "make: $(PYTHON) has no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# Stamp files: an environment is set up again only when its lock changes.
.venv/installed: requirements.lock pyproject.toml | .venv/bin/python
	.venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/installed-dev: requirements-dev.lock .venv/installed
	.venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements-dev.lock
	@touch $@

# Programs of others, each in an environment of its own from exact pins: build/envs/<name> from envs/<name>.lock.
envs: $(patsubst envs/%.lock,build/envs/%/installed,$(wildcard envs/*.lock))

define install-lock
	$(PYTHON) -m venv build/envs/$*
	build/envs/$*/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	@touch $@
endef

build/envs/%/installed: envs/%.lock
	$(install-lock)

# What only a test takes.
build/envs/%/installed: tests/real/%.lock
	$(install-lock)

# Newest versions that pyproject.toml allows, resolved in an empty environment. The first lock is what running
# takes, the second adds what testing takes. Local labels (+cpu) go: they are not on every index.
FREEZE := build/lock/bin/pip freeze --all --exclude pip --exclude hydra-bench | sed 's/+cpu$$//'
lock:
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet --upgrade --editable . $(TORCH) 'setuptools>=77'
	$(FREEZE) > requirements.lock
	build/lock/bin/pip install --quiet --editable '.[dev,docs]' $(TORCH)
	{ echo '--requirement requirements.lock'; $(FREEZE) | grep -vxFf requirements.lock; } > requirements-dev.lock
	rm -rf build/lock

clean:
	rm -rf .venv .snakemake .pytest_cache .ruff_cache build results
