"""``python -m train``: fit, evaluate, crop, recipes."""

from train.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
