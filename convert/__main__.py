"""``python -m convert``: see its ``--help``."""

from convert.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
