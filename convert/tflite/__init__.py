"""TFLite files: writing, and reading of their integers."""
