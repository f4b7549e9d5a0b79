"""Frame sources, one adapter in each file. Only ``edge_emotion.factory`` imports them. See docs/how-to/cameras.md."""
