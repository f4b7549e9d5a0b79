"""A page to look at, an API to ask, metrics to scrape. Only ``server`` and what it imports need the extra ``web``."""
