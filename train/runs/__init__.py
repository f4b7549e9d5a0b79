"""Run directories: record, checkpoints, history and weights of training runs."""
