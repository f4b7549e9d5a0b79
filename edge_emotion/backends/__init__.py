"""Interpreters: one file each. Import them through ``edge_emotion.factory``."""
