"""Settings: their types, where they are read from, and how two of them differ."""
