# Two commands matter: `make demo` and `make test`. Each makes what it needs.
PYTHON ?= python3
UV_VERSION := 0.13.8
BIN := .venv/bin
READY := .venv/.ready
DEMO_STATE ?= var/demo

.PHONY: install test test-slow lint format demo report up bench clean

install: $(READY)

# Compiled here once: where nothing may be written later (a read-only checkout, another user,
# PYTHONDONTWRITEBYTECODE), each start of a process would otherwise compile it all again.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Homeostat needs Python 3.11 or newer; run: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes \
		-r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q homeostat workers tasks beat_schedule.py
	touch $@

# With AGAIN set, the tests that failed run once more, alone: on two shared cores some waits for
# real processes run out. What fails twice is broken. A run that did not come to its end (any other
# exit code of pytest than 1) is never run again, because nobody knows what it would have found.
define tests
$(BIN)/python -m pytest $(1) $(2) || { test $$? = 1 && test -n "$(AGAIN)" && \
		echo "== what failed runs once more, alone" && \
		$(BIN)/python -m pytest $(1) --last-failed --last-failed-no-failures none; }
endef

# Tests of rooms run on two cores; those that start stacks wait for processes, so they run alone.
test: $(READY)
	$(call tests,-m "not slow" tests/unit tests/component,-n 2 --dist loadfile)
	$(call tests,-m "not slow" tests/worker tests/chaos)

test-slow: $(READY)
	$(call tests,-m slow)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: $(READY)
	rm -rf $(DEMO_STATE)
	HOMEOSTAT_STATE_DIR=$(DEMO_STATE) $(BIN)/homeostat stress --minutes 1

# The report that is kept with the source: ten minutes, the standard scenarios, a fresh folder.
report: $(READY)
	rm -rf var/report
	HOMEOSTAT_STATE_DIR=var/report $(BIN)/homeostat stress --minutes 10 --profile 20251123 \
		--out docs/reports/stress-10min

up: $(READY)
	$(BIN)/homeostat up

bench: $(READY)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv var dist
