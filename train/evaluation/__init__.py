"""Predictions, metrics and comparisons of trained models."""
