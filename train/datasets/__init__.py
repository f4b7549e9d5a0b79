"""Loaders of labelled faces."""

from train.datasets.fer import load_fer2013, load_fer_plus
from train.faces import DataError, DataSet, Faces, Split

__all__ = ["DataError", "DataSet", "Faces", "Split", "load_fer2013", "load_fer_plus"]
