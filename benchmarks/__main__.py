"""``python -m benchmarks``: latency, pipeline, accuracy, fleet and others; ``--help`` lists them."""

from benchmarks.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
