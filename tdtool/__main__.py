"""`python -m tdtool`, and the file that spark-submit is given."""

from tdtool.cli import main

if __name__ == "__main__":
    main()
