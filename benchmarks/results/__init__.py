"""Results of the benchmarks: format, comparison, report and plots."""
