"""Faces and labels: loading, inspection, copies, augmentation."""
