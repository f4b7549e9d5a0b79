"""Releases of models: signed descriptions with their files, and their installation on a node."""
