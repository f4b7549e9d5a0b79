"""Several GPUs, several machines, and narrow floats where the hardware is faster with them."""

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
"""CUDA compute capability from which half floats are faster (NVIDIA Volta)."""


def make_strategy() -> Any:
    """How a run is spread: over the machines of TF_CONFIG, else over every GPU of this one, else not at all.

    With TF_CONFIG each machine gives the same command, on a run directory that all of them see. Raises ConfigError
    for a TF_CONFIG that is not JSON with a cluster and a task.
    """
    if os.environ.get("TF_CONFIG"):
        _check_tf_config(os.environ["TF_CONFIG"])
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def is_chief(strategy: Any) -> bool:
    """Whether this process is the one that writes the run directory."""
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type is None:
        return True
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return bool(resolver.task_type == first and resolver.task_id == 0)


def of_chief(strategy: Any, figures: Mapping[str, float]) -> dict[str, float]:
    """The chief's figures, on every machine; all of them must ask at the same point, with the same names.

    What each machine measures for itself may differ: batch norms that are not ``synchronized`` have their own
    statistics. Decisions that differ, such as to stop, would leave the others waiting for ever.
    """
    if strategy.cluster_resolver is None or strategy.cluster_resolver.task_type is None:
        return dict(figures)
    own, nothing = list(figures.values()), [0.0] * len(figures)
    speaks = is_chief(strategy)

    def value(context: Any) -> Any:
        said = own if speaks and context.replica_id_in_sync_group == 0 else nothing
        return tf.constant(said, tf.float64)

    each = strategy.experimental_distribute_values_from_function(value)
    heard = strategy.reduce(tf.distribute.ReduceOp.SUM, each, axis=None)
    return dict(zip(figures, heard.numpy().tolist(), strict=True))


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
    """Keras' precision policy inside; 'auto' is mixed_float16 when every GPU has tensor cores, else float32."""
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
