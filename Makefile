# `make demo` and `make test` work from a bare clone with Python 3.11 or newer.
PYTHON ?= python3
ENV := .venv
BIN := $(ENV)/bin

.PHONY: demo test lint clean

demo: $(ENV)/ready
	$(BIN)/python -m prep phantom --view 4ch --patients 150 --frames 5 --size 128 --seed 1 --out data/demo_phantom
	$(BIN)/python -m prep build --phantom data/demo_phantom --view 4ch --size 128 --out data/demo
	$(BIN)/python train.py --config configs/phantom.py --workdir runs/demo
	$(BIN)/python eval.py --ckpt runs/demo --out runs/demo/eval

test: $(ENV)/ready
	$(BIN)/python -m pytest

lint: $(ENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(ENV)/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jssm needs Python 3.11 or newer; choose it with PYTHON=...")'
	$(PYTHON) -m venv $(ENV)
	$(BIN)/python -m pip install --no-compile --editable '.[dev]'
	@# Bytecode on all cores, where pip takes one; without the packages' own tests.
	$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(ENV)/lib || true
	touch $@

clean:
	rm -rf $(ENV) data/demo data/demo_phantom runs/demo
