"""Faces as training takes them: from pictures without labels, and with labels that teachers gave."""
