"""Thousands of simulated nodes, real brokers and the real collector; every event is accounted for."""
