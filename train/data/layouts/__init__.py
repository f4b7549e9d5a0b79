"""Loaders of labelled faces."""

from train.data.faces import DataError, DataSet, Faces, Split
from train.data.layouts.fer import load_fer2013, load_fer_plus
from train.data.layouts.finder import FaceFinder
from train.data.layouts.layouts import LAYOUTS, detect_layout, load

__all__ = [
    "DataError", "DataSet", "FaceFinder", "Faces", "LAYOUTS", "Split", "detect_layout", "load", "load_fer2013",
    "load_fer_plus",
]  # fmt: skip
