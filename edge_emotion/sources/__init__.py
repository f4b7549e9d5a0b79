"""Frame sources, one adapter in each file. Only the factory imports them; docs/sources.md is for users."""
