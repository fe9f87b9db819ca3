.PHONY: check format lint types contract test coverage sanitize

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

sanitize:   ## accesses of GPU kernels beyond an array, by AddressSanitizer
	TDTOOL_SANITIZE_KERNELS=1 PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
	LD_PRELOAD=$$(gcc -print-file-name=libasan.so) pytest -p no:cacheprovider $$(ls tests/kernels/test_*_gpu.py | grep -v compile)
