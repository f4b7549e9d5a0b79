"""Training itself: batches, losses, schedules, callbacks and the state of a run."""
