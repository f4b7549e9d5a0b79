"""Quantisation: folding of batch norms, calibration, quantisation-aware training."""
