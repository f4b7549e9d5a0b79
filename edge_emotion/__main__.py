"""``python -m edge_emotion`` is ``edge-emotion``."""

from edge_emotion.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
