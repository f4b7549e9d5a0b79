"""How fast, on this very machine. Not part of the wheel."""
