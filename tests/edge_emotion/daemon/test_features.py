from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_emotion.config.loader import load
from edge_emotion.daemon.overrides import CameraOverrides, OverrideStore
from edge_emotion.labels import EMOTIONS

SETTINGS = load(
    None,
    {"cameras": {"desk": {"source": "0"}}, "jsonl": {}, "classifier": {"classes": ["sad", "anger"]}},
    environment=False,
)


@pytest.mark.parametrize(
    ("feature", "payload", "expected"),
    [
        ("enabled", b"OFF", CameraOverrides(enabled=False)),
        ("enabled", b"ON", CameraOverrides()),
        ("threshold", b"0", CameraOverrides(threshold=0.0)),
        ("threshold", b"0.65", CameraOverrides(threshold=0.65)),
        ("threshold", b"1.0", CameraOverrides(threshold=1.0)),
        ("threshold", b"null", CameraOverrides()),
        ("classes", b'["Sad", "happy"]', CameraOverrides(classes=("happiness", "sadness"))),
        ("classes", b"null", CameraOverrides()),
    ],
)
def test_a_message_sets_a_feature(feature: str, payload: bytes, expected: CameraOverrides) -> None:
    assert CameraOverrides().with_payload(feature, payload, EMOTIONS) == expected


@pytest.mark.parametrize(
    ("feature", "payload", "reason"),
    [
        ("enabled", b"", "expected ON or OFF"),
        ("enabled", b"on", "expected ON or OFF"),
        ("enabled", b"true", "expected ON or OFF"),
        ("threshold", b"", "Expecting value"),
        ("threshold", b"1.01", "from 0 to 1"),
        ("threshold", b"-0.1", "from 0 to 1"),
        ("threshold", b"NaN", "not a JSON number"),
        ("threshold", b"Infinity", "not a JSON number"),
        ("threshold", b"1e999", "from 0 to 1"),
        ("threshold", b"true", "from 0 to 1"),
        ("threshold", b'"0.5"', "from 0 to 1"),
        ("threshold", b"\xff", "decode"),
        ("threshold", b"9" * 4000, "from 0 to 1"),
        ("classes", b"[" * 4000, "nested more than 32 deep"),
        ("classes", b"[]", "at least two"),
        ("classes", b'["fear"]', "at least two"),
        ("classes", b'["fear", 1]', "expected a list"),
        ("classes", b'"fear"', "expected a list"),
        ("classes", b'["fear", "hapy"]', "did you mean 'happiness'"),
        ("volume", b"11", "there are enabled, threshold, classes"),
    ],
)
def test_a_message_that_cannot_be_is_refused_with_a_reason(feature: str, payload: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        CameraOverrides().with_payload(feature, payload, EMOTIONS)


def test_a_class_that_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="not emotions of this model"):
        CameraOverrides().with_payload("classes", b'["fear", "contempt"]', EMOTIONS[:7])


def test_states_say_what_counts_and_can_be_sent_back() -> None:
    plain = CameraOverrides().payloads(SETTINGS, EMOTIONS)
    assert plain == {"enabled": b"ON", "threshold": b"0.5", "classes": b'["sadness", "anger"]'}
    changed = CameraOverrides(enabled=False, threshold=0.25, classes=("neutral", "fear"))
    again = CameraOverrides()
    for feature, payload in changed.payloads(SETTINGS, EMOTIONS).items():
        again = again.with_payload(feature, payload, EMOTIONS)
    assert again == changed


def test_features_survive_in_a_private_file_and_only_what_was_set_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "pi5.features.json"
    store = OverrideStore(path, EMOTIONS)
    store["desk"] = CameraOverrides(enabled=False, threshold=0.3, classes=("anger", "fear"))
    store["hall"] = CameraOverrides(threshold=0.9)
    store["hall"] = CameraOverrides()
    assert not path.exists(), "it is written once for any number of changes"
    store.save()
    store.wait()
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    again = OverrideStore(path, EMOTIONS)
    assert again["desk"] == store["desk"] and again["hall"] == CameraOverrides()
    assert list(json.loads(path.read_text())["content"]) == ["desk"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_a_damaged_file_is_said_and_replaced(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pi5.features.json"
    path.write_bytes(content)
    store = OverrideStore(path, EMOTIONS)
    assert store["desk"] == CameraOverrides() and "pi5.features.json" in caplog.text
    assert path.with_name("pi5.features.json.damaged").read_bytes() == content
    store["desk"] = CameraOverrides(enabled=False)
    store.save()
    store.wait()
    assert not OverrideStore(path, EMOTIONS)["desk"].enabled


@pytest.mark.parametrize("camera", ["#am", "", "a/b", "x" * 65, "\ud800"])
def test_a_file_with_a_name_that_no_camera_can_have_is_moved_aside(
    camera: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pi5.features.json"
    path.write_text(json.dumps({camera: {"enabled": False, "threshold": None, "classes": None}}))
    assert OverrideStore(path, EMOTIONS)[camera] == CameraOverrides()
    assert not path.exists() and "moved to pi5.features.json.damaged" in caplog.text


@pytest.mark.parametrize("values", [1, {}, {"enabled": True, "threshold": 7, "classes": None}, {"enabled": True}])
def test_an_entry_that_does_not_fit_is_forgotten_and_the_others_stay(
    values: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"enabled": False, "threshold": None, "classes": None}
    (tmp_path / "f.json").write_text(json.dumps({"desk": values, "hall": good}))
    store = OverrideStore(tmp_path / "f.json", EMOTIONS)
    assert store["desk"] == CameraOverrides() and store["hall"] == CameraOverrides(enabled=False)
    assert "back to the settings" in caplog.text


def test_a_disk_that_is_full_is_said_and_nothing_is_half_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = OverrideStore(tmp_path / "gone" / "f.json", EMOTIONS)
    store["desk"] = CameraOverrides(enabled=False)
    store.save()
    store.wait()
    assert not store["desk"].enabled and "cannot save" in caplog.text
