"""The same work through other programs, each in a Python environment of its own. Workers import nothing of ours."""
