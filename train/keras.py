"""The only module that imports TensorFlow; it selects Keras 2.

tfmot (convert/) supports only tf_keras models, so train and convert use them throughout. The variable must be set
before TensorFlow is imported anywhere in the process.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
import tf_keras as K

__all__ = ["K", "tf"]
