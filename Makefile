# `make run` starts Clarion and its sandbox; `make test` runs every check.  Both install what they
# need.  Only Python 3.11 or newer, git and make must be there.

SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python

# The first Python that is new enough; `make PYTHON=/path/to/python3 …` sets another.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)

# The tests start hundreds of processes, which should not compile everything again.
unexport PYTHONDONTWRITEBYTECODE

PIP := $(PY) -m pip install --quiet --disable-pip-version-check

.PHONY: run demo test check quick lint types imports pytest others seeds suites crowded browser tools fuzz lists simulate kills kills-celery flood soak hostile bench screenshots openapi lock audit clean

run: $(VENV)/runtime
	@exec $(PY) -m app.cli.up

# Made-up people and broadcasts over the sandbox, in a temporary folder; Ctrl-C removes them.
demo: $(VENV)/runtime
	@exec $(PY) -m app.cli.demo

# The simulation uses what all others leave of two cores; imports and types leave the drills room.
test: lint browser tools
	@$(MAKE) --no-print-directory --jobs=4 imports types seeds others

# What to run before each commit: no slow tests, no processes, no PostgreSQL, no seeds.
check: lint imports
	@$(MAKE) --no-print-directory --jobs=2 types quick

quick: export TMPDIR = $(TEMPORARY)
quick: $(VENV)/dev
	$(PY) -m pytest --quick -q -n 3 --dist worksteal

lint: $(VENV)/dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

types: $(VENV)/dev
	nice $(VENV)/bin/mypy

imports: $(VENV)/dev
	nice $(VENV)/bin/lint-imports --no-cache

pytest: browser tools
	@$(MAKE) --no-print-directory --jobs=2 seeds others

# One after the other: tests that kill and freeze processes need a machine with time to spare.  They
# come first, while the simulation is there to use the time that they only wait.
others:
	@$(MAKE) --no-print-directory crowded
	@$(MAKE) --no-print-directory suites

# The output is printed at the end, not mixed with that of the other jobs.
seeds: $(VENV)/dev
	@nice $(PY) -m pytest tests/simulation >$(VENV)/seeds.txt 2>&1 & pytest=$$!; \
	trap "kill $$pytest" INT TERM; wait $$pytest; code=$$?; \
	cat $(VENV)/seeds.txt; exit $$code

# Five tests at a time, because each waits half of its time; six if they kill, freeze or flood
# processes, because each waits for those.  The soak, which takes longest, begins first.  Each worker
# has its own sandbox, PostgreSQL and Valkey.
CROWDED := tests/soak tests/kills tests/queue tests/flood
# Test databases are in memory if possible, so that thousands of commits do not wait for the disk.
# Data written by a killed process stays there too.
TEMPORARY := $(shell [ -w /dev/shm ] && [ "$$(df -Pk /dev/shm | awk 'NR==2 {print $$4}')" -gt 4000000 ] \
	&& echo /dev/shm || echo "$${TMPDIR:-/tmp}")
suites crowded: export TMPDIR := $(TEMPORARY)
suites: $(VENV)/dev
	$(PY) -m pytest -n 5 --dist worksteal --ignore=tests/simulation \
	$(foreach folder,$(CROWDED),--ignore=$(folder))

crowded: $(VENV)/dev
	$(PY) -m pytest -n 6 --dist worksteal $(CROWDED)

# Chromium for the browser tests: root installs it from the distribution, without a window if there is
# such a package; otherwise these tests are skipped with a message.
browser:
	@command -v chromium-headless-shell >/dev/null 2>&1 || command -v chromium >/dev/null 2>&1 \
	|| command -v google-chrome >/dev/null 2>&1 \
	|| if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "installing chromium for the browser tests"; \
		export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get update -qq \
			&& { apt-get install -y -qq --no-install-recommends chromium-headless-shell \
			|| apt-get install -y -qq --no-install-recommends chromium; }; } >/dev/null 2>&1 \
		|| echo "chromium could not be installed: the browser tests will be skipped"; \
	fi

# promtool, which tries the alerts, and nginx: unpacked from the distribution's packages, without the
# services that their installation starts; otherwise these tests are skipped with a message.
TOOLS := $(VENV)/tools
define fetch
	@command -v $(1) >/dev/null 2>&1 || [ -x $(TOOLS)/$(3) ] \
	|| if command -v apt-get >/dev/null 2>&1; then \
		echo "fetching $(1) for its tests"; \
		{ [ "$$(id -u)" != 0 ] || apt-get update -qq; mkdir -p $(TOOLS) && cd $(TOOLS) \
			&& apt-get download -qq $(2) \
			&& dpkg-deb --fsys-tarfile $(2)_*.deb | tar -x ./$(3) \
			&& rm $(2)_*.deb; } >/dev/null 2>&1 \
		|| echo "$(1) could not be fetched: its tests will be skipped"; \
	fi
endef
tools: | $(PY)
	$(call fetch,promtool,prometheus,usr/bin/promtool)
	$(call fetch,nginx,nginx,usr/sbin/nginx)

# Only the randomised tests, with new examples, SIZE times as many.
SIZE ?= 10
fuzz: $(VENV)/dev
	FUZZ=$(SIZE) $(PY) -m pytest --timeout 0 --hypothesis-show-statistics \
	tests/http tests/phone tests/text tests/test_logs.py tests/sms/broadcasts/test_create.py

# Made-up lists after the grammar of real exports: SIZE of them, with a new seed each time;
# LISTS_SEED=n repeats an earlier run.
lists: $(VENV)/dev
	LISTS=$(SIZE) nice $(PY) -m pytest --timeout 0 -s tests/subscribers/lists/test_made_up.py

# Random kill -9, SIZE times as long as in `make test`, with a new seed each time; KILLS_SEED=n
# repeats an earlier run.
kills: $(VENV)/dev
	KILLS=$(SIZE) $(PY) -m pytest --timeout 0 -s tests/kills/test_random_kills.py

# Random kill -9 with Celery's workers, on their own Valkey and PostgreSQL.
kills-celery: $(VENV)/dev
	KILLS=$(SIZE) $(PY) -m pytest --timeout 0 -s tests/queue/test_kills.py

# A flood of CALLBACKS callbacks on SQLite, and a fifth of that with two processes on each database;
# SEED=n repeats an earlier run.
CALLBACKS ?= 1000000
flood: $(VENV)/dev
	$(PY) -m pytest --timeout 0 -s tests/flood/test_flood.py --flood $(CALLBACKS) \
	$(if $(SEED),--flood-seed $(SEED))

# Ordinary use for MINUTES with faults of Sinch: counts have to be right, and nothing may grow.  A line
# of figures each minute; SEED=n repeats the dice of an earlier run.  DATABASE=postgresql and CELERY=1
# have it on PostgreSQL, and with Celery's worker and beat.
MINUTES ?= 30
soak: $(VENV)/dev
	SOAK_MINUTES=$(MINUTES) $(if $(SEED),SOAK_SEED=$(SEED)) $(if $(DATABASE),SOAK_DATABASE=$(DATABASE)) \
	$(if $(CELERY),SOAK_CELERY=$(CELERY)) nice $(PY) -m pytest --timeout 0 -s tests/soak

# SIZE hostile requests of each kind at once beside small broadcasts, and slow clients.  A line for
# each kind has the times of the broadcasts and the memory.  KIND="lists or keys" for some.
hostile: $(VENV)/dev
	HOSTILE=$(SIZE) $(PY) -m pytest --timeout 0 -s tests/journeys/test_hostile_requests.py \
	tests/journeys/test_slow_clients.py $(if $(KIND),-k "$(KIND)")

# Only the simulation of the state machine: SEEDS runs, starting with FIRST; `make simulate SEED=123`
# runs one seed and prints its trace.
SEEDS ?= 10000
FIRST ?= 1
SEED ?=
simulate: $(VENV)/dev
	@SEED=$(SEED) $(PY) -m tests.simulation $(FIRST) $(SEEDS)

bench: $(VENV)/dev
	@for file in bench/bench_*.py; do $(PY) -m bench.$$(basename $$file .py) || exit 1; done

# README's pictures, from the demo.
screenshots: $(VENV)/dev browser
	@$(PY) -m tests.browser.pictures

# The committed OpenAPI document; a test compares it with the routes.
openapi: $(VENV)/runtime
	@APP_ENV=test API_KEYS=k SECRET_KEY=s SINCH_SERVICE_PLAN_ID=p SINCH_API_TOKEN=t \
	SINCH_NUMBER=+12015550199 SINCH_REGION_URL=http://127.0.0.1:9 LOG_LEVEL=error ENV_FILE= \
	$(VENV)/bin/flask --app wsgi openapi write docs/openapi.json

# The exact versions of what runs, with the hashes of their files.  constraints.txt has the versions.
lock: $(VENV)/dev
	@$(PIP) uv
	@$(VENV)/bin/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --constraint constraints.txt \
		--output-file requirements.lock requirements.txt

# Known vulnerabilities of these versions.  Ends with 2 if the source was not reached, or does not
# know a package: then pip-audit finds none, and has checked nothing.
audit: $(VENV)/dev
	@$(PIP) --constraint constraints.txt pip-audit 2>/dev/null
	@$(PY) -m pip_audit --progress-spinner off --disable-pip --require-hashes \
		--requirement requirements.lock >$(VENV)/audit.txt 2>&1; code=$$?; \
	if grep -q "known vulnerabilit" $(VENV)/audit.txt \
		&& ! grep -q "could not be audited" $(VENV)/audit.txt; \
	then cat $(VENV)/audit.txt; exit $$code; fi; \
	tail -3 $(VENV)/audit.txt; \
	echo "make audit: not checked, because the source of known vulnerabilities was not reached" >&2; \
	exit 2

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(PY):
	@test -n "$(PYTHON)" || { echo "Clarion needs Python 3.11 or newer, with venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: requirements.txt constraints.txt | $(PY)
	@echo "installing packages into $(VENV)"
	@$(PIP) --requirement requirements.txt
	@touch $@

$(VENV)/dev: requirements-dev.txt requirements.txt constraints.txt | $(PY)
	@echo "installing packages for development into $(VENV)"
	@$(PIP) --requirement requirements-dev.txt
	@touch $@ $(VENV)/runtime
