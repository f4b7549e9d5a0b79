"""The one place that imports TensorFlow and selects Keras 2.

tfmot (convert/) only understands tf_keras models, so the whole workstation side uses them. The variable must be set
before TensorFlow is imported anywhere in the process.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
import tf_keras as K

__all__ = ["K", "tf"]
