"""Examples at the end of each command's ``--help``."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": (
        "edge-emotion run --source 0 --mqtt localhost",
        "edge-emotion run --source 0 --show",
        "edge-emotion run --source rtsp://camera.local/stream --jsonl events.jsonl --set policy.threshold=0.6",
        "edge-emotion run --config edge-emotion.yaml",
    ),
    "demo": ("edge-emotion demo", "edge-emotion demo --source 0 --seconds 30"),
    "classify": (
        "edge-emotion classify portrait.jpg",
        "edge-emotion classify album --annotate drawn",
        "edge-emotion classify --from files.txt --shard 1/2 --output rows-1.jsonl --resume",
        "edge-emotion classify faces --cropped --json > faces.jsonl",
    ),
    "subscribe": (
        "edge-emotion subscribe --mqtt localhost",
        "edge-emotion subscribe --mqtt broker.local --username listener --password-file secret --format csv",
    ),
    "collect": (
        "edge-emotion collect --mqtt localhost",
        "edge-emotion collect --mqtt one.example,two.example --postgres postgresql://collector@db.example/emotions",
    ),
    "drift": (
        "edge-emotion drift",
        "edge-emotion drift --postgres postgresql://collector@db.example/emotions --node pi5 --json",
    ),
    "forget": ("edge-emotion forget pi5 --mqtt localhost",),
    "install": (
        "edge-emotion install tiny-7.tar --trust release.key.pub --models models",
        "edge-emotion install --back tiny --models models",
    ),
    "fleet": (
        "edge-emotion fleet status --mqtt broker.local",
        "edge-emotion fleet roll-out releases/tiny-7 --group cafes --release-key release.key --mqtt broker.local",
    ),
    "web": ("edge-emotion web", "edge-emotion web --mqtt localhost"),
    "check-config": ("edge-emotion check-config --config edge-emotion.yaml",),
    "doctor": ("edge-emotion doctor --config edge-emotion.yaml", "edge-emotion doctor --source 0 --json"),
    "models": ("edge-emotion models", "edge-emotion models --json"),
}
"""Command -> calls of it."""

FLEET_EXAMPLES: dict[str, tuple[str, ...]] = {
    "status": (
        "edge-emotion fleet status --mqtt broker.local",
        "edge-emotion fleet status --group cafes --json --mqtt broker.local",
    ),
    "roll-out": (
        "edge-emotion fleet roll-out releases/tiny-7 --source https://releases.example/tiny-7 --group cafes "
        "--release-key release.key --mqtt broker.local",
        "edge-emotion fleet roll-out /srv/releases/tiny-7.tar --group cafes --release-key release.key --waves 5,100 "
        "--max-failed 2",
    ),
    "pause": ("edge-emotion fleet pause --group cafes --release-key release.key --mqtt broker.local",),
    "abort": ("edge-emotion fleet abort --group cafes --release-key release.key --mqtt broker.local",),
}
"""Action of ``fleet`` -> calls of it."""
