"""Checks of all that the daemon needs, each with a finding and a fix."""
