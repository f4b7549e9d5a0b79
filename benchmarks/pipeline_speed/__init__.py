"""Speed of the pipeline and of the whole daemon."""
