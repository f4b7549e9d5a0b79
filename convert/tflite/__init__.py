"""TFLite files: writing them, and reading float ones back."""
