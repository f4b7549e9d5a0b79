"""Frame sources, one adapter in each file. Only ``edge_emotion.factory`` imports them; docs/sources.md is for users."""
