"""Measurements of speed and quality on this machine. Not part of the wheel."""
