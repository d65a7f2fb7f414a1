# RadLens: make run | make test | make lint | make figures | make fuzz | make screenshot
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501

.PHONY: run test lint browser install install-dev figures fuzz screenshot

run: install
	@echo "RadLens: open http://127.0.0.1:$(PORT)"
	$(BIN)/streamlit run streamlit_app.py --server.port $(PORT)

test: install-dev lint browser
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Benchmarks: ratios measured in one interleaved run, printed as tables. Not part of the tests.
figures: install-dev
	$(BIN)/python -m benchmarks.analyse
	$(BIN)/python -m benchmarks.engines
	$(BIN)/python -m benchmarks.page_ready
	$(BIN)/python -m benchmarks.reading
	$(BIN)/python -m benchmarks.served
	$(BIN)/python -m benchmarks.models
	$(BIN)/python -m benchmarks.inside
	$(BIN)/python -m benchmarks.worklist
	$(BIN)/python -m benchmarks.reviews
	$(BIN)/python -m benchmarks.crossings

# Ten thousand damaged files through the door: half an hour or so.
fuzz: install-dev
	$(BIN)/python -m benchmarks.fuzz_reading --mutants 10000

# Draws the pictures of the README again.
screenshot: install-dev browser
	$(BIN)/python -m docs.screenshot

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "RadLens needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch $@

$(VENV)/.installed-dev: requirements.txt requirements-dev.txt constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt -c constraints.txt
	@touch $@ $(VENV)/.installed

# A Chromium for the browser tests: the one that is there, else Debian's, else Playwright's own.
browser: install-dev
	@if $(BIN)/python -m tests.chromium; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else $(BIN)/python -m playwright install --with-deps chromium || $(BIN)/python -m playwright install chromium; fi
	@$(BIN)/python -m tests.chromium
