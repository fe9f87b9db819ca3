.PHONY: check format lint types contract test bench

check: lint types contract test   ## what CI runs, unchanged

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
