"""Face detectors as they ship."""
