"""How fast and how right, on this very machine. Not part of the wheel."""
