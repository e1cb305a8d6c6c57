# make          what there is
# make test     every test, after setting up what it needs
# make check    what CI runs besides
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup test check format bench clean

help:
	@sed -n 's/^# //p' Makefile

setup:
	@PYTHON=$(PYTHON) ./run_mpi.sh --setup dev

test: setup
	$(BIN)/python -m pytest -m "not mpi" --numprocesses auto --dist worksteal
	$(BIN)/python -m pytest -m mpi

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python benchmarks/round_cost.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
