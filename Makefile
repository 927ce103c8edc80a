# Two commands matter: `make demo` runs the main job on an embedded PostgreSQL, `make check` is the test command.
# Both set up all they need in .venv.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
# workers wait for servers half of their time: four keep two cores busy
WORKERS ?= 4

.PHONY: demo check ready compiled format lint types contracts unit integration acceptance faults lowest tools clean

demo: $(VENV)/.run
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash docs/demo.sh

check:
	@# side by side: none of these needs another, and pip and apt-get wait for the network
	$(MAKE) -j3 ready
	@# in this order: a file stays with one worker. The faults are the longest and mostly wait, so one worker begins with
	@# them while the others need the cores; the many short ones at the end leave no worker without work
	$(BIN)/pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder -q \
	    tests/faults tests/acceptance tests/integration tests/unit

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.dev
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports --no-logo

unit integration acceptance: $(VENV)/.dev
	$(BIN)/pytest -q tests/$@

# the fault laboratory; `make faults CASES=2000 SEED=1` for the long form, KIND=clock for one kind of fault
faults: $(VENV)/.dev tools
	$(if $(CASES),EHG_FAULT_CASES=$(CASES) EHG_FAULT_SEED=$(or $(SEED),0) $(if $(KIND),EHG_FAULT_KIND=$(KIND))) $(BIN)/pytest -n $(WORKERS) --dist worksteal -q tests/faults

# with the lowest releases that pyproject.toml allows, in an environment of their own: before a bound is lowered, and where
# something of a newer release came into use
lowest: tools
	$(PYTHON) -m venv --clear build/lowest
	@$(PYTHON) -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
	    more = p['optional-dependencies']; \
	    wanted = p['dependencies'] + [d for name in more if name != 'dev' for d in more[name]]; \
	    print(*(d.replace('>=', '==') for d in wanted), sep='\n')" >build/lowest.txt
	build/lowest/bin/pip install -q --disable-pip-version-check -r build/lowest.txt -e '.[dev]'
	build/lowest/bin/pytest -n $(WORKERS) -q tests/unit tests/integration/test_fleet.py tests/integration/test_single.py \
	    tests/integration/test_replaying.py tests/integration/test_workers.py tests/integration/test_dask.py \
	    tests/integration/test_stock_alembic.py tests/acceptance/test_local_commands.py tests/acceptance/test_lint_sql.py

ready: tools types compiled lint contracts

# Once, and not by each of some hundred processes where PYTHONDONTWRITEBYTECODE keeps them from leaving it to the next.
# What cannot be collected is told by the tests.
compiled: $(VENV)/.dev
	$(BIN)/python -m compileall -q ehg_migrate benchmarks
	-@PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --collect-only -qq tests >$(VENV)/.collected

# pgbouncer and a PostgreSQL server with TLS, for the tests; from Debian's packages where they are missing
tools:
	@sh tests/support/tools.sh

$(VENV)/bin/pip:
	@# Debian has `ensurepip` in a package of its own, python3-venv; where that is not installed, pip is asked itself
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv $(VENV); else \
	    $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install -q pip; fi

$(VENV)/.run: pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) .ehg build
