"""Measuring models on faces of other origin than those they were trained on."""
