"""The command line. `main` is the entry point; a command's module is imported when the command is called."""

from tdtool.cli.entry import main

__all__ = ["main"]
