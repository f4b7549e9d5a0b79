"""Model folders: their manifest, how they are checked and loaded, and what turns pixels into probabilities."""
