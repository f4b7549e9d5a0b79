"""Plots, explanations and reports of training runs."""
