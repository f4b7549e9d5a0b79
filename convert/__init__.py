"""Conversion stage: artefacts for devices, compared with the float model of a run. Not part of the wheel."""
