"""Several workers, narrow floats, loggers."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.paths import ROOT
from support.shallow import BLOCKS

from edge_emotion.errors import ConfigError

pytest.importorskip("tf_keras")

from train.data.faces import DataSet
from train.fitting.distributed import is_chief, make_strategy, precision
from train.fitting.fit import fit
from train.fitting.state import State
from train.keras import K, tf
from train.recipes.catalogue import find_recipe
from train.reporting.logged_pictures import logged_pictures
from train.runs.run_directory import load_run

ONE_STEP = """
import sys
from pathlib import Path
import numpy as np
from train.data.augment import Augmentation
from train.recipes.catalogue import find_recipe
from train.data.faces import DataSet, Faces
from train.fitting.fit import fit
still = Augmentation(flip=False, rotation=0, zoom=0, shift=0, brightness=0, contrast=0, erase=0)
recipe = find_recipe("tiny").change(
    batch_size=16, epochs=1, augmentation=still, dropout=0.0, ema=0.0, optimizer="sgd", weight_decay=0,
    learning_rate=0.1, warmup_epochs=0, schedule="constant", class_weights=0.5,
)
generator = np.random.default_rng(0)
def faces(count):
    votes = np.eye(8, dtype=np.float32)[np.arange(count) % 8]
    return Faces(generator.integers(0, 256, (count, 48, 48), dtype=np.uint8), votes, np.ones(count, bool))
data = DataSet("noise", "majority", ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear",
    "contempt"), {"train": faces(64), "validation": faces(16)})
def step():
    fit(recipe, data, Path(sys.argv[1]), weights=None, start="random", steps=1)
"""

DIFFERENT_FIGURES = """
# Measurements of each worker may differ, and do here; recorded values must be equal.
import json
import os
from train.fitting import callbacks
from train.fitting.state import State
measured, note = callbacks.validation_figures, State.note
worker = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
def figures(*arguments):
    return {name: value + worker for name, value in measured(*arguments).items()}
def noted(state, epoch, value, loss):
    print("noted", value, loss)
    return note(state, epoch, value, loss)
callbacks.validation_figures, State.note = figures, noted
"""


def start(run: Path, tf_config: dict[str, object], log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TF_CONFIG": json.dumps(tf_config)}
    with log.open("wb") as output:
        shallow = f"from train.networks import mobilenet_v2\nmobilenet_v2.TINY_BLOCKS = {BLOCKS}\n"
        command = [sys.executable, "-c", shallow + ONE_STEP + DIFFERENT_FIGURES + "step()\n", str(run)]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.mark.usefixtures("shallow_tiny")
def test_two_workers_take_the_steps_of_one_on_the_same_global_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One plain gradient step, batch norm and class weights included: what changes is the gradient.

    Sums in another order flip single ReLUs near their kink, so that gradients below differ in the third digit; those
    of the head do not.
    """
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in range(2)]
    processes = [start(tmp_path / "two", task, tmp_path / f"worker{i}.log") for i, task in enumerate(tasks)]
    try:
        monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "alone")])
        exec(ONE_STEP + "step()\n", {})
        for index, process in enumerate(processes):
            assert process.wait(300) == 0, (tmp_path / f"worker{index}.log").read_text()[-2000:]
    finally:
        for process in processes:
            process.kill()
            process.wait(10)
    alone, two = load_run(tmp_path / "alone"), load_run(tmp_path / "two")
    assert alone.finished
    assert two.finished
    start_weights, compared = _fresh_weights(alone.recipe.seed), 0
    for fresh, one, other in zip(start_weights, alone.build().get_weights(), two.build().get_weights(), strict=True):
        alone_step, two_step = one - fresh, other - fresh
        # Else it is nothing but rounding: the gradient, or the mean of what a norm has centred.
        if np.abs(alone_step).max() > 1e-5:
            compared += 1
            lengths = np.linalg.norm(alone_step) * np.linalg.norm(two_step)
            assert (alone_step * two_step).sum() / lengths > 0.9995
            assert np.linalg.norm(two_step) == pytest.approx(np.linalg.norm(alone_step), rel=0.02)
    assert compared > 0.8 * len(start_weights)
    assert two_step == pytest.approx(alone_step, rel=1e-3, abs=1e-7)
    noted = [re.findall("noted .*", (tmp_path / f"worker{index}.log").read_text()) for index in range(2)]
    assert len(noted[0]) == 1 and noted[0] == noted[1]
    assert float(noted[0][0].split()[2]) == pytest.approx(two.history["val_loss"][0], rel=1e-6)
    assert two.history["loss"] == pytest.approx(alone.history["loss"], rel=1e-4)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == sorted(
        path.name for path in (tmp_path / "alone").iterdir()
    )


def _fresh_weights(seed: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    K.utils.set_random_seed(seed)
    return find_recipe("tiny").build(8, weights=None).get_weights()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("value", "message"),
    [("two machines", "must be JSON"), ('{"cluster": {"worker": ["a:1"]}}', "must be JSON with 'cluster' and 'task'"),
     ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "no worker number 1")],
)  # fmt: skip
def test_a_wrong_tf_config_is_refused(value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(ConfigError, match=message):
        make_strategy()


@pytest.mark.parametrize(
    ("cluster", "chiefs"),
    [
        ({"worker": ["a:1", "b:1"]}, [("worker", 0)]),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, [("chief", 0)]),
    ],
)
def test_exactly_one_task_is_the_chief(cluster: dict[str, list[str]], chiefs: list[tuple[str, int]]) -> None:
    tasks = [(kind, index) for kind, addresses in cluster.items() for index in range(len(addresses))]
    found = []
    for kind, index in tasks:
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec(cluster), task_type=kind, task_id=index
        )
        if is_chief(SimpleNamespace(cluster_resolver=resolver)):
            found.append((kind, index))
    assert found == chiefs


def test_without_a_gpu_floats_stay_wide_and_the_policy_is_put_back() -> None:
    with precision("auto") as name:
        assert name == "float32"
    with precision("mixed_bfloat16"):
        assert K.mixed_precision.global_policy().name == "mixed_bfloat16"
    assert K.mixed_precision.global_policy().name == "float32"


@pytest.mark.usefixtures("shallow_tiny")
@pytest.mark.parametrize("floats", ["mixed_bfloat16", "mixed_float16"])
def test_a_run_in_narrow_floats_keeps_wide_weights(floats: str, few_faces: DataSet, tmp_path: Path) -> None:
    recipe = find_recipe("tiny").change(batch_size=4, epochs=1)
    fit(recipe, few_faces, tmp_path / "run", weights=None, start="random", steps=2, floats=floats)  # type: ignore[arg-type]
    run = load_run(tmp_path / "run")
    assert np.isfinite(run.history["loss"]).all()
    assert {weight.dtype for weight in run.build().get_weights()} == {np.dtype(np.float32)}


@pytest.mark.usefixtures("shallow_tiny")
def test_weights_and_biases_offline_keeps_the_curves_in_the_run(
    few_faces: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    recipe = find_recipe("tiny").change(batch_size=4, epochs=1)
    fit(
        recipe, few_faces, tmp_path / "run",
        weights=None, start="random", steps=1, loggers=["wandb"], draw=logged_pictures,
    )  # fmt: skip
    (log,) = (tmp_path / "run").glob("wandb/offline-run-*/run-*.wandb")
    assert b"val_balanced_accuracy" in log.read_bytes()
    images = (tmp_path / "run").glob("wandb/offline-run-*/files/media/images/*.png")
    assert {path.name.partition("_")[0] for path in images} == {"confusion", "samples"}


@pytest.mark.usefixtures("shallow_tiny")
def test_mlflow_without_a_server_keeps_the_curves_in_the_run_that_goes_on(
    few_faces: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    recipe = find_recipe("tiny").change(batch_size=4, epochs=2)

    def train() -> None:
        fit(
            recipe, few_faces, tmp_path / "run",
            weights=None, start="random", steps=1, loggers=["mlflow"], draw=logged_pictures,
        )  # fmt: skip

    save = State.save
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(State, "save", lambda state, epoch: _interrupt() if epoch == 2 else save(state, epoch))
        train()
    mlflow.end_run()  # as if its process had ended
    train()
    with sqlite3.connect(tmp_path / "run" / "mlflow.db") as database:
        names = {name for (name,) in database.execute("select distinct key from metrics")}
        runs = database.execute("select count(*) from runs").fetchone()
    assert {"loss", "val_accuracy", "val_balanced_accuracy"} <= names
    assert runs == (1,)
    pictures = list((tmp_path / "run" / "mlflow").glob("*/artifacts/pictures/*.png"))
    assert {path.stem for path in pictures} == {"confusion", "samples"}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def _interrupt() -> None:
    raise KeyboardInterrupt
