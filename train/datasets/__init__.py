"""Loaders of labelled faces."""

from train.datasets.fer import load_fer2013, load_fer_plus
from train.datasets.finder import FaceFinder
from train.datasets.layouts import LAYOUTS, detect_layout, load
from train.faces import DataError, DataSet, Faces, Split

__all__ = [
    "DataError", "DataSet", "FaceFinder", "Faces", "LAYOUTS", "Split", "detect_layout", "load", "load_fer2013",
    "load_fer_plus",
]  # fmt: skip
