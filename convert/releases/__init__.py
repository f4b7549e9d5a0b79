"""Signed releases of model folders, which ``edge-emotion install`` installs on nodes."""
