"""Latency and cost of model files."""
