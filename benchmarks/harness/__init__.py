"""Parts that all benchmarks share: processes, interleaved runs, conditions of the machine."""
