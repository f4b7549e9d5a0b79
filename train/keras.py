"""The only module that imports TensorFlow; it selects Keras 2.

tfmot (convert/) supports only tf_keras models, so train and convert use them throughout. The variable must be set
before TensorFlow is imported anywhere in the process.
"""

import os

from train.quiet import LOG_LEVEL, quiet_stderr

with quiet_stderr():
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", LOG_LEVEL)
    import tensorflow as tf
    import tf_keras as K

    tf.config.list_physical_devices()  # looks for GPUs, and remarks on it, here and not later

__all__ = ["K", "tf"]
