.PHONY: check format lint types contract test coverage

check: lint types contract test   ## the commands that CI runs

format:
	ruff format .
	ruff check --fix .

lint:
	ruff format --check .
	ruff check .

types:
	mypy

contract:
	lint-imports

test:
	pytest -n auto

coverage:   ## of the kernels, whose compiled code no tool can watch
	NUMBA_DISABLE_JIT=1 pytest -n auto tests/kernels --cov=tdtool.kernels --cov-fail-under=90
