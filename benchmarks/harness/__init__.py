"""Parts that all benchmarks share: subprocesses, interleaved runs, progress, conditions of the machine."""
