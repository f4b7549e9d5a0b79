"""A model for all nodes of a group, from a workstation: in waves that stop by themselves, pause, abort, and status."""
