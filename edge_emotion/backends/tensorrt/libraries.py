"""TensorRT and the CUDA runtime as they are installed here: imported at first use, and nowhere else."""

from __future__ import annotations

import functools
import importlib
import logging
from typing import Any

from edge_emotion.errors import BackendUnavailable

OLDEST = (8, 6)
"""The first TensorRT with all of the calls by tensor name, and with engines that several contexts can share."""

TENSORRT_FIX = (
    "on a Jetson: sudo apt-get install python3-libnvinfer, and a virtual environment made with --system-site-packages; "
    "elsewhere: pip install tensorrt"
)
CUDA_LAYOUTS = ("cuda.bindings.runtime", "cuda.cudart")
"""Modules of cuda-python with the runtime: of 12.6 and newer, and of older releases."""
CUDA_FIX = (
    "pip install 'cuda-python==12.6.*', with the version of your CUDA (JetPack 6.0: 12.2, 6.1 and 6.2: 12.6, 7: 13.0)"
)

log = logging.getLogger(__name__)


def load_tensorrt() -> Any:
    """The module ``tensorrt``. Raises BackendUnavailable where it is missing, broken or too old."""
    try:
        trt = importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        raise BackendUnavailable(f"no TensorRT for Python ({error}): {TENSORRT_FIX}") from error
    except (ImportError, OSError) as error:
        raise BackendUnavailable(f"TensorRT is installed but cannot be imported: {error}") from error
    if version(trt) < OLDEST:
        raise BackendUnavailable(f"TensorRT {trt.__version__} is too old, 8.6 is needed: install JetPack 6 or newer")
    return trt


def version(trt: Any) -> tuple[int, ...]:
    """Major, minor, patch."""
    return tuple(int(part) for part in trt.__version__.split(".")[:3])


def load_cuda_runtime() -> Any:
    """The module of cuda-python with the CUDA runtime. Raises BackendUnavailable where there is none."""
    for layout in CUDA_LAYOUTS:
        try:
            return importlib.import_module(layout)
        except ModuleNotFoundError:
            continue
        except (ImportError, OSError) as error:
            raise BackendUnavailable(f"cuda-python is installed but cannot be imported: {error}") from error
    raise BackendUnavailable(f"TensorRT needs cuda-python, which is not installed: {CUDA_FIX}")


class Messages:
    """Receives TensorRT's messages: writes them to the log and keeps the errors for ``reason``."""

    def __init__(self) -> None:
        self._errors: list[str] = []

    def take(self, severity: str, text: str) -> None:
        """One message. Many of TensorRT's warnings need no action, so warnings are logged as details."""
        line = " ".join(text.split())
        if severity.endswith("ERROR"):
            self._errors.append(line)
        if severity != "VERBOSE":
            log.debug("TensorRT: %s", line)

    def reason(self) -> str:
        """The first error since the last question: what came after it is mostly a consequence."""
        first = self._errors[0] if self._errors else "it does not say why"
        self._errors.clear()
        return first


@functools.cache
def logger(trt: Any) -> tuple[Any, Messages]:
    """An ``ILogger`` and where its messages go: one for the whole process, which TensorRT keeps until its end."""
    messages = Messages()

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            messages.take(severity.name, msg)

    return Logger(), messages
