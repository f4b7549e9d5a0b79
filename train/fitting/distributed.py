"""Distributed training over GPUs and machines, and mixed precision."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from edge_emotion.errors import ConfigError
from train.choices import Precision
from train.keras import K, tf

TENSOR_CORES = (7, 0)
"""CUDA compute capability from which float16 is faster (NVIDIA Volta, tensor cores)."""


def make_strategy() -> Any:
    """The distribution strategy: the machines of TF_CONFIG, else all GPUs of this machine, else none.

    With TF_CONFIG the same command runs on each machine, with a shared run directory. Raises ConfigError for a
    TF_CONFIG that is not JSON with a cluster and a task.
    """
    if os.environ.get("TF_CONFIG"):
        _check_tf_config(os.environ["TF_CONFIG"])
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def is_chief(strategy: Any) -> bool:
    """Whether this process is the chief, which writes the run directory."""
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type is None:
        return True
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return bool(resolver.task_type == first and resolver.task_id == 0)


def of_chief(strategy: Any, figures: Mapping[str, float]) -> dict[str, float]:
    """The chief's figures on every machine; all machines must call it at the same point, with the same names.

    Figures measured on each machine may differ, because batch norms that are not ``synchronized`` have their own
    statistics. Different decisions, such as to stop, would leave the other machines waiting for ever.
    """
    if strategy.cluster_resolver is None or strategy.cluster_resolver.task_type is None:
        return dict(figures)
    own, zeros = list(figures.values()), [0.0] * len(figures)
    sends = is_chief(strategy)

    def value(context: Any) -> Any:
        sent = own if sends and context.replica_id_in_sync_group == 0 else zeros
        return tf.constant(sent, tf.float64)

    each = strategy.experimental_distribute_values_from_function(value)
    received = strategy.reduce(tf.distribute.ReduceOp.SUM, each, axis=None)
    return dict(zip(figures, received.numpy().tolist(), strict=True))


def _check_tf_config(text: str) -> None:
    try:
        cluster, task = (json.loads(text)[key] for key in ("cluster", "task"))
        known = task["index"] < len(cluster[task["type"]])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"TF_CONFIG must be JSON with 'cluster' and 'task' (type, index): {error!r}") from error
    if not known:
        raise ConfigError(f"TF_CONFIG: there is no {task['type']} number {task['index']} in the cluster")


@contextmanager
def precision(wanted: Precision) -> Iterator[str]:
    """Context with Keras' precision policy; 'auto' is mixed_float16 if every GPU has tensor cores, else float32."""
    before = K.mixed_precision.global_policy()
    name = _auto_precision() if wanted == "auto" else wanted
    K.mixed_precision.set_global_policy(name)
    try:
        yield name
    finally:
        K.mixed_precision.set_global_policy(before)


def _auto_precision() -> str:
    gpus = tf.config.list_physical_devices("GPU")
    capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability") for gpu in gpus]
    fast = bool(gpus) and all(each is not None and each >= TENSOR_CORES for each in capabilities)
    return "mixed_float16" if fast else "float32"
