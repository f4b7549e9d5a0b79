"""What the commands of the workstation answer where only the runtime's libraries are installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.paths import ROOT
from support.without_libraries import MAINS

BEFORE_MEASURING = "--json {data}/none/result.json"
"""An output that cannot be written, which is found when everything is imported and nothing is measured yet."""

NEED_NOTHING = {
    "train": {"inspect": "{data}", "record": "hapy --session a --data {data}"},
    "convert": {"detector": "--models {data}/models", "verify": "tiny --data {data}", "card": None},
    "benchmarks": {
        "latency": "tiny " + BEFORE_MEASURING,
        "pipeline": BEFORE_MEASURING,
        "soak": BEFORE_MEASURING,
        "marks": BEFORE_MEASURING,
        "detection": "--data {data} " + BEFORE_MEASURING,
        "tracking": BEFORE_MEASURING,
        "fleet": BEFORE_MEASURING,
        "show": "{data}/none.json",
        "compare": "{data}/none.json {data}/none.json",
    },
}
"""Command -> words that let it do its work, or fail for another reason; None: it writes into the checkout."""

NEED_LIBRARIES = {
    "train": {
        "recipes": "",
        "weights": "tiny --data {data} --out {data}/out.h5",
        "crops": "{data} --out {data}/out.npz",
        "pseudo-label": "tiny --data {data} --out {data}/out.npz",
        "fit": "--recipe tiny --data {data} --run {data}/run",
        "evaluate": "tiny --data {data}",
        "report": "tiny --data {data} --out {data}/out",
        "explain": "{data}/run --data {data} --out {data}/out",
        "crop": "--data {data}",
        "detector": "{data} --start {data}/none.h5 --run {data}/run",
    },
    "convert": {
        "detector-int8": "blazeface_short --data {data} --clip {data}/none.mp4",
        "qat": "{data}/run --data {data}",
        "tflite": "{data}/run --data {data}",
        "all": "{data}/run --data {data}",
        "recalibrate": "tiny --data {data} --version 9.0.0",
        "import": "{data}/net.onnx --labels fer2013 --input 48x48x1 --out {data}/own",
        "onnx": "{data}/run --data {data} --out {data}/out",
        "cross-check": "{data}/run --data {data}",
        "check-onnx": "{data}/net.onnx",
        "release-key": "{data}/release.key",
        "release": "tiny --key {data}/none.key --out {data}/out --serial 1",
    },
    "benchmarks": {
        "accuracy": "--data {table} --model tiny",
        "robustness": "--data {table} --model tiny",
        "gate": "--data {table} --model tiny",
        "peers": "--data {table} --peer haar",
    },
}
"""Command -> words with which it imports TensorFlow, pandas, onnx or another library of the workstation."""


@pytest.mark.parametrize("stage", MAINS)
def test_a_library_that_is_missing_is_one_line_and_code_5(stage: str, tmp_path: Path) -> None:
    named = NEED_LIBRARIES[stage] | NEED_NOTHING[stage]
    parser = import_module(MAINS[stage])._parser()
    assert set(parser._subparsers._group_actions[0].choices) == set(named), "every command is tested here"
    _write_data(tmp_path)
    commands = {
        name: [name, *words.format(data=tmp_path / "faces", table=tmp_path / "faces.csv").split()]
        for name, words in named.items()
        if words is not None
    }
    work = subprocess.run(
        [sys.executable, ROOT / "tests" / "support" / "without_libraries.py"],
        input=json.dumps([(stage, words) for words in commands.values()]),
        capture_output=True, text=True, check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, timeout=120,
    )  # fmt: skip
    for name, (code, errors) in zip(commands, json.loads(work.stdout), strict=True):
        if name in NEED_NOTHING[stage]:
            assert code in (0, 2, 7), f"{stage} {name}: {code} {errors}"
            continue
        assert code == 5, f"{stage} {name}: {code} {errors}"
        (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert line.endswith(" is not installed: in the clone, run make workstation"), f"{stage} {name}: {line}"


def _write_data(folder: Path) -> None:
    """Two faces of two classes for every split, as a folder and as a table; and a file with the name of a network."""
    for split in ("train", "val", "test"):
        for emotion in ("happiness", "anger"):
            place = folder / "faces" / split / emotion
            place.mkdir(parents=True)
            pixels = np.random.default_rng(len(split + emotion)).integers(0, 255, (48, 48), np.uint8)
            cv2.imwrite(str(place / "1.png"), pixels)
    (folder / "faces" / "net.onnx").write_bytes(b"no network")
    (folder / "faces.csv").write_text("emotion,pixels\n0,1 2 3 4\n")
