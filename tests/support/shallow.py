"""A shallow form of the recipe ``tiny``, for tests of runs."""

BLOCKS = ((1, 8, 1, 1), (4, 16, 1, 2))
"""In place of ``train.networks.mobilenet_v2.TINY_BLOCKS``."""
