"""Training recipes: what each model is trained with, and how recipes differ."""
