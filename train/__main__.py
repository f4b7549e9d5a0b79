"""``python -m train``: recipes, inspect, fit, evaluate, report, explain, crop."""

from train.commands.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
