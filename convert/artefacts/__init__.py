"""Model folders: comparison of artefacts with the float model, model card, verification."""
