"""Timed comparisons with other software: `python -m tests.bench` lists them. Never part of the tests."""
