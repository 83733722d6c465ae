# Two commands to know: `make report` and `make test`. `make` alone lists all of them.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help report test test-hard lab tensorboard lint bench lock clean
help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

report: .venv/ready  ## prepare the embedded images, run all notebooks, write reports/demo and reports/index.html
	$(BIN)/retrainlab report --run demo -p budget_minutes 3

test: .venv/ready  ## run the tests
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not hard"

test-hard: .venv/ready  ## run the tests that take minutes each: JupyterLab in a browser, and the like
	$(BIN)/python -m pytest -n auto --dist loadfile -m hard

# Its own kernels first: one that is called python3 as well, elsewhere on the path, would run another Python.
lab: export JUPYTER_PATH := $(abspath $(BIN)/../share/jupyter):$(JUPYTER_PATH)
lab: .venv/ready  ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks

tensorboard: .venv/ready  ## show the logs of all runs under reports/ in TensorBoard
	$(BIN)/retrainlab tensorboard

lint: .venv/ready  ## check style, types, the plan of the house, and that notebooks carry no outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/nbstripout --verify notebooks/*.ipynb
	$(BIN)/python docs/house.py --check

bench: .venv/ready  ## run the benchmarks; each prints a ratio taken side by side
	@for script in $(filter-out benchmarks/families.py benchmarks/fine_tuning.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lock:  ## resolve requirements.lock anew for every supported Python (needs uv on the PATH)
	uv pip compile --universal --python-version 3.11 --extra demo --extra dev --no-header --no-annotate --upgrade \
		pyproject.toml -o requirements.lock

clean:  ## remove the environment, the prepared images and the generated reports
	rm -rf .venv data/elpv build .pytest_cache .mypy_cache .ruff_cache
	find reports -mindepth 1 -maxdepth 1 ! -name README.md ! -name images -exec rm -rf {} +

# The environment: exactly the versions of the lock file, then this project, editable.
.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else "Retrain Lab needs Python 3.11 to 3.13 and found %d.%d. Say which to use: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
