"""The command line as people meet it: what works, and what wrong input looks like."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from support.broker import Broker, needs_mosquitto, password_access
from support.paths import ROOT

from edge_emotion.cli.demo import CLIP
from edge_emotion.cli.main import main
from edge_emotion.datatypes import Image
from edge_emotion.labels import EMOTIONS
from edge_emotion.mqtt import local_broker


def spawn(*arguments: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_emotion", *arguments]
    environment = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)


@pytest.fixture
def portrait(astronaut: Image, tmp_path: Path) -> Path:
    path = tmp_path / "portrait.jpg"
    cv2.imwrite(str(path), astronaut)
    return path


@pytest.fixture
def landscape(tmp_path: Path) -> Path:
    path = tmp_path / "landscape.png"
    cv2.imwrite(str(path), 127 * (cv2.getGaussianKernel(480, 80) > 0).repeat(640, axis=1).astype("uint8"))
    return path


def test_classify_prints_emotion_confidence_and_all_probabilities(
    portrait: Path, landscape: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", str(portrait), str(landscape)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{portrait}: 1 face"
    assert lines[1].startswith("  1  happiness ")
    assert all(emotion in lines[2] for emotion in EMOTIONS)
    assert lines[3].startswith("    9 times in 10 one of: happiness")
    assert lines[4] == f"{landscape}: no faces"


def test_classify_json_is_one_object_per_picture(
    portrait: Path, landscape: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", "--json", str(portrait), str(landscape)]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    (face,) = first["faces"]
    assert face["emotion"] == "happiness"
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=0.001)
    assert face["likely"][0] == "happiness" and set(face["likely"]) <= set(EMOTIONS)
    assert face["box"][0] == pytest.approx(246, abs=10)
    assert second == {**second, "image": str(landscape), "faces": []}


def test_classify_draws_boxes_and_labels_into_copies(
    portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = tmp_path / "twin" / "portrait.jpg"
    twin.parent.mkdir()
    twin.write_bytes(portrait.read_bytes())
    assert main(["classify", "--annotate", str(tmp_path / "drawn"), str(portrait), str(twin)]) == 0
    drawn = cv2.imread(str(tmp_path / "drawn" / "portrait.png"))
    original = cv2.imread(str(portrait))
    assert drawn.shape == original.shape
    changed = (drawn != original).any(axis=2)
    assert changed[70:170, 240:345].any()
    assert not changed[250:].any()
    assert (tmp_path / "drawn" / "portrait-2.png").is_file()
    assert portrait.read_bytes() == twin.read_bytes()
    assert f"  drawn: {tmp_path / 'drawn' / 'portrait-2.png'}" in capsys.readouterr().out.splitlines()


def test_classify_writes_over_annotated_pictures_only_if_told_to(
    portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "drawn" / "portrait.png"
    kept.parent.mkdir()
    kept.write_bytes(b"mine")
    command = ["classify", "--cropped", "--model", "tiny", "--json", "--annotate", str(kept.parent), str(portrait)]
    assert main(command) == 2
    output = capsys.readouterr()
    assert output.err == f"error: {kept} is there already: give another folder, or --force to write over it\n"
    assert output.out == "" and kept.read_bytes() == b"mine"
    assert main([*command, "--force"]) == 0
    assert json.loads(capsys.readouterr().out)["annotated"] == str(kept)
    assert cv2.imread(str(kept)).shape == cv2.imread(str(portrait)).shape


def test_classify_never_writes_over_an_original(portrait: Path) -> None:
    original = portrait.with_suffix(".png")
    cv2.imwrite(str(original), cv2.imread(str(portrait)))
    before = original.read_bytes()
    assert main(["classify", "--annotate", str(portrait.parent), str(original)]) == 0
    assert original.read_bytes() == before
    assert (portrait.parent / "portrait-2.png").is_file()


def test_classify_takes_names_that_are_no_text(portrait: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.jpg"))
    odd.write_bytes(portrait.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "edge_emotion", "classify", "--annotate", str(tmp_path / "drawn"), odd],
        cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"}, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"happiness" in done.stdout


def test_classify_knows_class_subsets_and_thresholds(portrait: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "--json", "--classes", "sad,angry,fear", "--threshold", "1", str(portrait)]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert set(face["probabilities"]) == {"sadness", "anger", "fear"} and "likely" not in face
    assert face["emotion"] == "unknown"


def test_classify_takes_face_crops_as_they_are(
    astronaut: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crop = tmp_path / "crop.png"
    cv2.imwrite(str(crop), cv2.resize(astronaut[52:164, 236:348], (48, 48), interpolation=cv2.INTER_AREA))
    assert main(["classify", "--json", "--cropped", str(crop)]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert face["emotion"] == "happiness"


def test_classify_takes_folders_with_all_that_is_below_and_counts_what_is_left_out(
    portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "album" / "2026"
    folder.mkdir(parents=True)
    for name in ("b.jfif", "without ending"):
        (folder / name).write_bytes(portrait.read_bytes())
    (tmp_path / "album" / "notes.txt").write_text("no picture")
    assert main(["classify", "--json", str(tmp_path / "album")]) == 0
    out, err = capsys.readouterr()
    assert [Path(json.loads(line)["image"]).name for line in out.splitlines()] == ["b.jfif", "without ending"]
    assert err == f"{tmp_path / 'album'}: 2 pictures; 1 other files are left out: notes.txt\n"
    (tmp_path / "empty").mkdir()
    assert main(["classify", str(tmp_path / "empty")]) == 3
    assert capsys.readouterr().err == f"{tmp_path / 'empty'}: 0 pictures\n"


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_classify_shows_its_progress_on_a_terminal_only(
    portrait: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [str(portrait)] * 2
    assert main(["classify", *pictures]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(["classify", *pictures]) == 0
    assert sys.stderr.getvalue() == "\r1 of 2 files\r\x1b[K\r2 of 2 files\r\x1b[K"  # type: ignore[attr-defined]


def test_run_on_a_picture_points_to_classify(
    portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["run", "--source", str(portrait)]) == 2
    assert capsys.readouterr().err.endswith(f"for the emotions of a picture: edge-emotion classify {portrait}\n")
    state = f"state_dir={tmp_path / 'state'}"
    assert main(["run", "--source", str(portrait), "--jsonl", str(tmp_path / "events"), "--set", state]) == 0
    assert f"events need a face in several: edge-emotion classify {portrait}" in caplog.text


def test_classify_refuses_huge_pictures_unless_told(portrait: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = cv2.imread(str(portrait))
    large = portrait.with_name("large.png")
    cv2.imwrite(str(large), cv2.resize(image, (1300, 1000)))
    assert main(["classify", "--max-megapixels", "1", str(large)]) == 3
    assert "large.png has 1300 x 1000 pixels, more than 1 million" in capsys.readouterr().err
    assert main(["classify", "--max-megapixels", "2", str(large)]) == 0


def test_an_unreadable_picture_is_reported_and_the_others_are_done(
    portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    (empty := tmp_path / "empty.png").touch()
    assert main(["classify", str(tmp_path / "nowhere.jpg"), str(text), str(empty), str(portrait)]) == 3
    out, err = capsys.readouterr()
    assert "happiness" in out
    assert err.splitlines() == [
        f"error: cannot read image {tmp_path / 'nowhere.jpg'}: No such file or directory",
        f"error: {text} is not a readable image: give a JPEG, PNG, BMP or WebP",
        f"error: {empty} is empty (0 bytes): give a JPEG, PNG, BMP or WebP",
    ]


def test_a_picture_in_place_of_a_folder_and_an_empty_path_are_refused(
    portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", str(portrait), "--annotate", str(tmp_path / "new.PNG")]) == 2
    assert "new.PNG is the name of a picture: give --annotate new" in capsys.readouterr().err
    assert not (tmp_path / "new.PNG").exists()
    with pytest.raises(SystemExit, match="2"):
        main(["classify", ""])
    assert "a path must not be empty" in capsys.readouterr().err


def test_ctrl_c_before_a_command_begins_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_parser: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edge_emotion.cli.main.complete_words", interrupted)
    assert main(["models"]) == 130


def test_the_command_line_starts_without_heavy_libraries() -> None:
    program = "import sys, edge_emotion.cli.main; print({'numpy', 'cv2', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["classify", "--model", "no_such", "x.png"], 2, "no model 'no_such'"),
        (["classify", "--classes", "happy,hapy", "x.png"], 2, "did you mean 'happiness'"),
        (["classify", "--operating-point", "hot", "x.png"], 2, "no operating point 'hot'"),
        (["classify", "--threshold", "2", "x.png"], 2, "not between 0 and 1"),
        (["run"], 2, "cameras: is required"),
        (["run", "--source", "0"], 2, "as options --mqtt, --jsonl, run --show"),
        (["run", "--config", "nowhere.yaml"], 2, "cannot read configuration nowhere.yaml"),
        (["run", "--source", "nowhere.mp4", "--jsonl", "-"], 3, "no video file nowhere.mp4"),
        (["run", "--source", "*.nothing", "--jsonl", "-"], 3, "*.nothing"),
        (["run", "--source", "0", "--jsonl", "README.md/x"], 6, "README.md/x"),
        (["run", "--source", "0", "--jsonl", "-", "--set", "classifier.model=x"], 2, "no model 'x'"),
        (["run", "--source", "0", "--jsonl", "-", "--set", "policy.thresold=1"], 2, "did you mean 'threshold'?"),
        (["run", "--source", "a ! b", "--jsonl", "-"], 5, "GStreamer"),
        (["run", "--source", "picamera2", "--jsonl", "-"], 5, "python3-picamera2"),
        (["check-config"], 2, "cameras: is required"),
        (["subscribe", "--mqtt", ""], 2, "--mqtt '': a host is missing"),
        (["subscribe", "--mqtt", "localhost:1"], 6, "broker localhost:1 is not reachable"),
        (["subscribe", "--mqtt", "localhost:99999"], 2, "the port '99999' is not a number from 1 to 65535"),
        (
            ["check-config", "--source", "0", "--mqtt", "localhost:abc"],
            2,
            "localhost:abc: the port 'abc' is not a number",
        ),
        (["subscribe", "--mqtt", "ws://localhost:abc"], 2, "--mqtt ws://localhost:abc: expected HOST[:PORT]"),
        (["demo", "--source", "nowhere.mp4"], 3, "no video file nowhere.mp4"),
        (["nonsense"], 2, "invalid choice: 'nonsense'"),
        (["subscribe", "--node", "#"], 2, "is no name"),
        (["subscribe", "--count", "0"], 2, "not a number above 0"),
        (["demo", "--seconds", "inf"], 2, "not a number of seconds"),
        (["check-config", "--source", "a ! b", "--jsonl", "-"], 5, "GStreamer"),
        (["check-config", "--source", "0", "--jsonl", "/no/such/folder/x"], 6, "/no/such/folder"),
        (["check-config", "--source", "0", "--mqtt", "x", "--set", "mqtt.tls.ca=nowhere.pem"], 6, "nowhere.pem"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_input_is_one_line_and_an_exit_code(arguments: list[str], code: int, message: str) -> None:
    done = spawn(*arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 or "usage: edge-emotion" in done.stderr


def test_a_missing_camera_is_said_at_once_and_tried_again() -> None:
    command = [sys.executable, "-m", "edge_emotion", "run", "--source", "/dev/video97", "--jsonl", "-"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "offline" in line)
        assert "camera camera is offline: no camera at /dev/video97" in line
        assert "trying again in" in line
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


@pytest.mark.parametrize("arguments", [("run", "--debug"), ("--debug", "run")])
def test_a_traceback_is_shown_only_with_debug_and_the_exit_code_stays(arguments: tuple[str, str]) -> None:
    done = spawn(*arguments, "--source", "nowhere.mp4", "--jsonl", "-")
    assert "Traceback" in done.stderr
    assert done.returncode == 3


def test_a_full_disk_is_no_traceback() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edge_emotion", "models"],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_writes_json_lines_to_standard_output() -> None:
    done = spawn("run", "--source", str(CLIP), "--jsonl", "-", "--set", "cameras.camera.realtime=false")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == ["start", "end"]
    assert "frames in" in done.stderr


def test_run_prints_events_on_a_terminal_and_where_it_is_told_to(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [
        "run",
        "--source",
        str(CLIP),
        "--jsonl",
        str(tmp_path / "events"),
        "--set",
        "cameras.camera.realtime=false",
    ]
    terminal, inside = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "edge_emotion", *command],
        cwd=ROOT, stdout=inside, stderr=subprocess.PIPE, text=True, timeout=60,
    )  # fmt: skip
    os.close(inside)
    assert done.returncode == 0, done.stderr
    printed = os.read(terminal, 65536).decode().splitlines()
    os.close(terminal)
    assert [line.split()[2] for line in printed] == ["start", "end"]
    assert "happiness" in printed[0] and "(face " in printed[0]
    assert main([*command, "--set", f"state_dir={tmp_path / 'state'}", "--print"]) == 0
    assert [line.split()[2] for line in capfd.readouterr().out.splitlines()] == ["start", "end"]


def test_run_does_not_mix_events_for_people_with_events_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--source", str(CLIP), "--jsonl", "-", "--print"]) == 2
    assert capsys.readouterr().err == "error: --print and --jsonl - both write to standard output: give one of them\n"


def test_check_config_prints_the_resolved_tree_without_secrets(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("cameras: {desk: {source: 'rtsp://a:hunter2@cam/1'}}\nmqtt: {username: me, password: s3cret}\n")
    done = spawn("check-config", "--config", str(config), EDGE_EMOTION_MQTT__HOST="broker")
    assert done.returncode == 0, done.stderr
    assert "host: broker" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_the_shipped_example_is_a_valid_configuration() -> None:
    done = spawn("check-config", "--config", "examples/edge-emotion.yaml")
    assert done.returncode == 0, done.stderr


def test_models_lists_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines()[:-1])
    assert "mobilenet_v2 *" in text and "blazeface_back *" in text and "86.3%" in text
    assert main(["models", "--json"]) == 0
    first = next(row for row in json.loads(capsys.readouterr().out) if row["name"] == "mobilenet_v2")
    assert first["precision"] == "int8" and first["licence"] == "Apache-2.0" and "n = 3153" in first["quality"]


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        (["clasify", "x.png"], "classify"),
        (["classify", "--modle", "tiny", "x.png"], "--model"),
        (["subscribe", "--format", "jsnl"], "jsonl"),
        (["classify", "--model", "mobilnet", "x.png"], "mobilenet_v2"),
        (["check-config", "--source", "0", "--set", "polcy.threshold=1"], "'policy'"),
    ],
)
def test_the_nearest_name_is_suggested(
    arguments: list[str], suggested: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert f"did you mean {suggested}?" in capsys.readouterr().err


def test_an_option_of_another_command_is_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--listen", "127.0.0.1:80"])
    error = capsys.readouterr().err
    assert "an option of another command" in error and "did you mean" not in error


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "check-config" in capsys.readouterr().out


def test_no_settings_at_all_are_no_failure_of_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "warn  settings      none given" in capsys.readouterr().out


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m edge_emotion models | true"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr


@needs_mosquitto
def test_the_demo_shows_a_visit_and_a_summary() -> None:
    done = spawn("demo", timeout=60)
    assert done.returncode == 0, done.stderr
    assert "broker: mosquitto" in done.stdout
    lines = done.stdout.splitlines()
    assert [line.split()[2] for line in lines if "seq" in line] == ["start", "end"]
    assert "happiness" in done.stdout
    assert lines[-1].startswith("summary: ")
    assert all(word in lines[-1] for word in ("frames", "fps", "p50", "p90", "2 events"))


def test_the_demo_works_without_mosquitto(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("amqtt")
    monkeypatch.setattr(local_broker.shutil, "which", lambda *_, **__: None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert main(["demo"]) == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    out = capsys.readouterr().out
    assert "broker: amqtt" in out
    assert "start   happiness" in out
    assert "end     happiness" in out
    assert "summary: " in out


@needs_mosquitto
def test_refused_credentials_are_said_and_the_work_goes_on(tmp_path: Path) -> None:
    broker = Broker(tmp_path, password_access(tmp_path, "me", "s3cret")).start()
    try:
        done = spawn(
            "run", "--source", str(CLIP), "--mqtt", f"127.0.0.1:{broker.port}", "--jsonl", "-",
            "--set", "mqtt.username=me", "--set", "mqtt.drain_timeout=0.5", EDGE_EMOTION_MQTT__PASSWORD="wrong",
        )  # fmt: skip
    finally:
        broker.stop()
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == ["start", "end"]
    complaints = [line for line in done.stderr.splitlines() if "Not authorized" in line]
    assert len(complaints) == 1
    assert "wrong" not in done.stderr
