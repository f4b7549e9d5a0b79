"""ONNX files on an NVIDIA GPU or DLA, through TensorRT 8.6, 10 and 11.

The engine is built on the device where it runs, once, and kept (``cache``). Only calls that 8.6.1, 10.3, 10.13 and 11.4
have in common are used; what one of them lacks is looked for with ``hasattr``.
"""

from edge_emotion.backends.tensorrt.backend import TensorRtBackend

__all__ = ["TensorRtBackend"]
