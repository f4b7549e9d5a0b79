"""Training recipes: the settings of each model's training."""
