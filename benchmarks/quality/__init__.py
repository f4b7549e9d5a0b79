"""Accuracy, robustness and stability over time."""
