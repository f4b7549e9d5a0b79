"""``python -m train``: see its ``--help``."""

from train.commands.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
