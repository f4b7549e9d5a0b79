"""``python -m convert verify`` where only the runtime is installed, as on a Jetson: no TensorFlow, no ``onnx``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.fer_files import fer_plus
from support.paths import ROOT

TRAINING = ("tensorflow", "keras", "tf_keras", "tensorflow_model_optimization", "torch", "matplotlib", "scipy", "tqdm")

PROGRAM = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {refused!r}:
            raise ModuleNotFoundError("refused: " + name, name=name)
sys.meta_path.insert(0, Refuse())
from convert.cli import main
{call}
"""
STAGE = """
from pathlib import Path
sys.path.append({tests!r})
from support.tensorrt_stage import Stage
stage = Stage(Path({folder!r}))
with stage.installed():
    code = main(sys.argv[1:])
assert len(stage.trt.builds) == 1
raise SystemExit(code)
"""
FLOAT16 = [f"efficientnet_lite0_float16.tflite ({kernels})" for kernels in ("XNNPACK", "plain kernels")]
INT8 = [f"efficientnet_lite0_int8.tflite ({kernels})" for kernels in ("XNNPACK", "plain kernels")]
ONNX = "efficientnet_lite0_int8.onnx"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fer_plus(tmp_path_factory.mktemp("data") / "fer")


def verify(
    data: Path, *options: str, refused: tuple[str, ...] = (), call: str = "raise SystemExit(main(sys.argv[1:]))"
) -> subprocess.CompletedProcess[str]:
    """The command in a separate process without these packages."""
    program = PROGRAM.format(refused=(*TRAINING, *refused), call=call)
    command = ["verify", "efficientnet_lite0", "--data", str(data), "--split", "validation", *options]
    return subprocess.run(
        [sys.executable, "-c", program, *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def verified(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The artefacts for which an accuracy was printed."""
    return [line.split(" accuracy ")[0].strip() for line in done.stdout.splitlines() if " accuracy " in line]


def test_every_file_is_verified_without_what_training_needs(data: Path) -> None:
    done = verify(data, refused=("onnx",))
    assert done.returncode == 0, done.stderr
    assert verified(done) == [*INT8, *FLOAT16, f"{ONNX} (onnxruntime)"]
    assert done.stdout.count("33 CONV_2D") == 4
    assert done.stdout.count("operators not counted: pip install onnx") == 1


def test_without_onnxruntime_the_onnx_file_is_named_and_the_others_are_verified(data: Path) -> None:
    done = verify(data, refused=("onnxruntime",))
    assert done.returncode == 0, done.stderr
    assert verified(done) == [*INT8, *FLOAT16]
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"{ONNX} (onnxruntime)") and "not verified: onnxruntime is not installed" in last
    alone = verify(data, "--backend", "onnxruntime", refused=("onnxruntime",))
    assert (alone.returncode, alone.stdout) == (5, "")
    assert alone.stderr.startswith(f"error: {ONNX} (onnxruntime): onnxruntime is not installed")


def test_a_training_run_needs_tensorflow_and_says_so(data: Path, tmp_path: Path) -> None:
    done = verify(data, "--run", str(tmp_path))
    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: to compare with a training run (")
    assert line.endswith("): in the clone, run make workstation")


def test_an_engine_is_built_and_verified_without_tensorflow(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    stage = STAGE.format(tests=str(ROOT / "tests"), folder=str(tmp_path))
    done = verify(data, "--backend", "tensorrt", call=stage)
    assert done.returncode == 0, done.stderr
    assert verified(done) == [f"{ONNX} (TensorRT)"]
    assert ", 49 Conv," in done.stdout
