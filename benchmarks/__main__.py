"""``python -m benchmarks``: pipeline, soak, marks, accuracy, robustness, peers."""

from benchmarks.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
