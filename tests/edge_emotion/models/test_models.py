"""Model folders: what ships is sound, and what is not what its manifest says is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.model_folders import copy_with_first_file

from edge_emotion.backends.constant import ConstantBackend
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.errors import ModelError
from edge_emotion.factory.interpreters import guarding_model
from edge_emotion.factory.models import make_classifier, make_detector
from edge_emotion.labels import EMOTIONS
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.folder import MANIFEST, checked_file, dump_manifest, find_model, load_manifest, shipped_models
from edge_emotion.models.manifest import DetectorManifest, ModelManifest
from edge_emotion.models.self_test import run_self_test, self_test_inputs
from edge_emotion.system.atomic_file import sha256


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the shipped classifier with its first file alone, that a test may damage: nothing to fall back to."""
    return copy_with_first_file("mobilenet_v2", tmp_path / "copy")


def edit(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        make_classifier(str(folder))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_ships_is_what_its_manifests_say() -> None:
    names = [folder.name for folder in shipped_models()]
    assert names == [
        "blazeface_back", "blazeface_short", "efficientnet_lite0", "mobilenet_v2", "tiny", "yunet", "yunet_640",
    ]  # fmt: skip
    for folder in shipped_models():
        manifest = load_manifest(folder)
        assert manifest.name == folder.name
        for entry in manifest.files:
            checked_file(folder, entry)
        assert dump_manifest(manifest) == (folder / MANIFEST).read_text(), f"{folder}: written by hand?"


def test_third_party_weights_carry_a_notice() -> None:
    for name in ("blazeface_back", "blazeface_short"):
        notice = (find_model(name) / "NOTICE").read_text()
        assert "Apache" in notice
        assert load_manifest(find_model(name)).file().sha256 in notice
    for name in ("yunet", "yunet_640"):
        notice = (find_model(name) / "NOTICE").read_text()
        manifest = load_manifest(find_model(name))
        assert isinstance(manifest, DetectorManifest)
        assert "3-clause BSD License" in notice and "Neither the names of the copyright holders" in notice
        assert manifest.licence == "BSD-3-Clause" and manifest.origin.sha256 in notice


@pytest.mark.parametrize(("name", "least"), [("mobilenet_v2", 0.855), ("efficientnet_lite0", 0.855), ("tiny", 0.83)])
def test_the_shipped_classifiers_are_as_accurate_as_they_were_when_they_came(name: str, least: float) -> None:
    manifest = load_manifest(find_model(name))
    assert isinstance(manifest, ModelManifest)
    figures = manifest.metrics["test/int8"]
    assert figures.n == 3153
    assert figures.accuracy >= least
    assert figures.interval[0] < figures.accuracy < figures.interval[1]
    assert manifest.labels == EMOTIONS


def test_a_copy_works_by_its_path(copy: Path) -> None:
    assert make_classifier(str(copy)).labels == EMOTIONS
    assert make_classifier(str(copy / MANIFEST)).labels == EMOTIONS


def test_an_unknown_model_lists_the_shipped_ones() -> None:
    with pytest.raises(
        ModelError, match=r"'no_such'.*blazeface_back, blazeface_short, efficientnet_lite0, mobilenet_v2, tiny"
    ):
        make_classifier("no_such")


def test_a_changed_byte_is_refused(copy: Path) -> None:
    file = copy / load_manifest(copy).file().file
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert "was changed or damaged" in refusal(copy)


def test_a_missing_file_is_refused(copy: Path) -> None:
    (copy / load_manifest(copy).file().file).unlink()
    assert "No such file" in refusal(copy)


def test_what_never_ends_is_not_read(copy: Path) -> None:
    for path in (copy / load_manifest(copy).file().file, copy / MANIFEST):
        path.unlink()
        os.mkfifo(path)
        assert re.search("it is no file|no model", refusal(copy))
        path.unlink()
        path.symlink_to("/dev/zero")
        assert re.search("it is no file|no model", refusal(copy))
    with pytest.raises(ModelError, match="no model '/dev/zero'"):
        make_classifier("/dev/zero")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"task":' * 50_000, "", "null", "[]", "\ufeff{}", '{"schema": 1e999}']
)
def test_whatever_stands_in_a_manifest_is_refused_in_one_line(text: str, copy: Path) -> None:
    (copy / MANIFEST).write_text(text)
    assert "\n" not in refusal(copy)


WRONG: list[Any] = [None, True, -1, 2**70, 1e308, "x", [], [[]], {}, {"a": []}, [None] * 3]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_type_at_any_place_of_a_manifest_is_refused_in_one_line(wrong: Any, copy: Path) -> None:
    """At each key, also inside the files, their golden sets and the input: loaded as before, or refused."""
    text = (copy / MANIFEST).read_text()
    places = [(key,) for key in json.loads(text)]
    places += [("files", 0, key) for key in json.loads(text)["files"][0]]
    places += [("files", 0, "golden", key) for key in json.loads(text)["files"][0]["golden"]]
    places += [("input", key) for key in json.loads(text)["input"]]
    refused = 0
    for place in places:
        data = json.loads(text)
        within = data
        for key in place[:-1]:
            within = within[key]
        within[place[-1]] = wrong
        (copy / MANIFEST).write_text(json.dumps(data))
        try:
            load_manifest(copy)
        except ModelError as error:
            refused += 1
            assert "\n" not in str(error) and error.exit_code == 4
    assert refused > len(places) / 2


@pytest.mark.parametrize(
    "fault", [TypeError("a\nb"), RecursionError(), OverflowError("x"), KeyError("k"), RuntimeError("")]
)
def test_whatever_an_interpreter_raises_about_a_file_is_one_line(fault: Exception) -> None:
    with pytest.raises(ModelError, match=r"m\.onnx cannot be used: ") as caught, guarding_model("m.onnx"):
        raise fault
    assert "\n" not in str(caught.value) and caught.value.exit_code == 4


def test_lack_of_memory_is_not_blamed_on_the_model() -> None:
    with pytest.raises(MemoryError), guarding_model("m.onnx"):
        raise MemoryError


def test_labels_that_are_no_emotions_are_refused(copy: Path) -> None:
    edit(copy, labels=["happy", *EMOTIONS[1:]])
    assert "labels must be distinct canonical emotions" in refusal(copy)


def test_another_number_of_labels_is_refused(copy: Path) -> None:
    edit(copy, labels=list(EMOTIONS[:7]))
    assert "class_prior has 8 values for 7 labels" in refusal(copy)


def test_another_input_shape_is_refused(copy: Path) -> None:
    data = json.loads((copy / MANIFEST).read_text())
    edit(copy, input={**data["input"], "height": 48, "width": 48})
    assert "its manifest says 48 x 48 x 1" in refusal(copy)


@pytest.mark.parametrize("end", ["input_type", "output_type"])
def test_other_types_than_those_of_the_file_are_refused(end: str, copy: Path) -> None:
    data = json.loads((copy / MANIFEST).read_text())
    data["files"][0][end] = "float32"
    edit(copy, files=data["files"])
    assert "takes int8 and gives int8, its manifest says" in refusal(copy)


def test_other_types_than_those_of_a_detector_are_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(find_model("blazeface_short"), tmp_path / "copy"))
    data = json.loads((folder / MANIFEST).read_text())
    edit(folder, files=[{**data["files"][0], "input_type": "int8"}])
    with pytest.raises(ModelError, match="takes float32 and gives float32 and float32, its manifest says int8"):
        make_detector(str(folder))


def damaged_scale(folder: Path, tensor: int) -> None:
    """Doubles the scale of one activation in the int8 file and gives the manifest its new hash."""
    data = json.loads((folder / MANIFEST).read_text())
    entry = data["files"][0]
    path = folder / entry["file"]
    scales = [
        one["quantization"][0] for one in TfliteBackend(path, plain_kernels=True).tensors if one["shape"].size == 4
    ]
    wanted = [scale for scale in scales if scale][tensor]
    content = path.read_bytes().replace(struct.pack("<f", wanted), struct.pack("<f", 2 * wanted))
    path.write_bytes(content)
    entry["sha256"] = sha256(path)
    edit(folder, files=data["files"])


def second_file(folder: Path) -> None:
    """The same weights once more, as if they were of another precision."""
    data = json.loads((folder / MANIFEST).read_text())
    first = data["files"][0]
    shutil.copy(folder / first["file"], folder / "second.tflite")
    edit(folder, files=[first, {**first, "file": "second.tflite", "precision": "float16"}])


@pytest.mark.parametrize("tensor", [1, 25, -3])
def test_a_file_with_a_damaged_scale_is_refused_and_the_next_precision_taken(
    copy: Path, tensor: int, caplog: pytest.LogCaptureFixture
) -> None:
    second_file(copy)
    damaged_scale(copy, tensor)
    with pytest.raises(ModelError, match="computes something else here"):
        make_classifier(str(copy), precision="int8")
    classifier = make_classifier(str(copy))
    assert classifier.entry.precision == "float16"
    assert "computes something else here" in classifier.refused[0]
    assert "trying the next precision" in caplog.text


def test_a_model_of_which_no_file_is_left_says_why_of_each(copy: Path) -> None:
    second_file(copy)
    for entry in load_manifest(copy).files:
        (copy / entry.file).write_bytes(b"nothing")
    message = refusal(copy)
    assert message.count("was changed or damaged") == len(load_manifest(copy).files)


@pytest.mark.parametrize("swapped", [("neutral", "happiness"), ("disgust", "contempt")])
def test_labels_in_another_order_are_refused(swapped: tuple[str, str], copy: Path) -> None:
    """Also of emotions that no golden input shows."""
    other = dict(zip(swapped, swapped[::-1], strict=True))
    edit(copy, labels=[other.get(name, name) for name in EMOTIONS])
    assert "labels are not in the order in which it was trained" in refusal(copy)


def test_a_golden_set_without_labels_is_refused(copy: Path) -> None:
    data = json.loads((copy / MANIFEST).read_text())
    del data["files"][0]["golden"]["labels"]
    edit(copy, files=data["files"])
    assert "files.0.golden.labels: is required" in refusal(copy)


def test_another_hash_in_the_manifest_is_refused(copy: Path) -> None:
    data = json.loads((copy / MANIFEST).read_text())
    data["files"][0]["sha256"] = "0" * 64
    edit(copy, files=data["files"])
    assert "its manifest promises 000000000000" in refusal(copy)


def test_another_scale_of_the_input_in_the_manifest_is_refused(copy: Path) -> None:
    data = json.loads((copy / MANIFEST).read_text())
    edit(copy, input={**data["input"], "scale": data["input"]["scale"] * 2})
    assert "computes something else here" in refusal(copy)


def test_outputs_that_are_no_numbers_are_refused() -> None:
    manifest = load_manifest(find_model("mobilenet_v2"))
    assert isinstance(manifest, ModelManifest)
    backend = ConstantBackend(manifest.input.shape, [np.full(8, np.nan)])
    with pytest.raises(ModelError, match="computes something else"):
        run_self_test(EmotionClassifier(manifest, backend), manifest.file("int8"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read"),
        ("[]", "manifest"),
        ('{"task": "emotion-classification"}', "schema: is required"),
        ('{"task": "face-detection", "schema": 2}', "schema"),
    ],
)
def test_a_malformed_manifest_is_one_line(copy: Path, text: str, message: str) -> None:
    (copy / MANIFEST).write_text(text)
    assert message in refusal(copy)


def test_an_unknown_field_is_named(copy: Path) -> None:
    edit(copy, lables=[])
    assert "lables: Extra inputs are not permitted" in refusal(copy)


def test_a_model_file_outside_of_its_folder_is_refused(copy: Path) -> None:
    data = json.loads((copy / MANIFEST).read_text())
    data["files"][0]["file"] = "../../secret"
    edit(copy, files=data["files"])
    assert "files.0.file" in refusal(copy)


def test_a_precision_that_is_not_there_lists_what_is() -> None:
    with pytest.raises(ModelError, match="no float32 file; it has float16 tflite, int8 onnx, int8 tflite"):
        make_classifier("mobilenet_v2", precision="float32")


def test_a_detector_is_no_classifier_and_the_other_way_round() -> None:
    with pytest.raises(ModelError, match="no emotion classifier"):
        make_classifier("blazeface_back")
    with pytest.raises(ModelError, match="no face detector"):
        make_detector("mobilenet_v2")


def test_golden_inputs_are_the_same_everywhere() -> None:
    spec = load_manifest(find_model("mobilenet_v2")).input
    inputs = self_test_inputs(spec, [20, 21])
    assert inputs.shape == (2, 96, 96, 1)
    assert inputs[0, ::32, ::32, 0].tolist() == GOLDEN_PIXELS


def test_a_golden_set_drives_several_classes() -> None:
    for name in ("mobilenet_v2", "efficientnet_lite0", "tiny"):
        for entry in load_manifest(find_model(name)).files:
            assert entry.golden is not None
            assert entry.golden.labels == EMOTIONS
            assert len(set(entry.golden.emotions)) >= 5, f"{entry.file}: {entry.golden.emotions}"


GOLDEN_PIXELS = [[189, 201, 208], [153, 241, 255], [151, 220, 237]]
