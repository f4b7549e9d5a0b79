"""``python -m benchmarks``: latency, pipeline, soak, marks, accuracy, robustness, detection, peers, show, compare."""

from benchmarks.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
