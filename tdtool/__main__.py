"""`python -m tdtool`, and the file that spark-submit is given."""

import sys
from pathlib import Path


def _find_tdtool() -> None:
    """Run as a file: tdtool is around it, unless the file came alone to a cluster.

    The folder of a program comes first in the path, where modules of ours would stand in for others of their names.
    """
    folder = Path(__file__).resolve().parent
    if (folder / "cli").is_dir():
        sys.path[:] = [str(folder.parent), *(place for place in sys.path if Path(place).resolve() != folder)]


if __name__ == "__main__":
    if not __package__:
        _find_tdtool()
    from tdtool.cli import main

    main()
