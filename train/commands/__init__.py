"""The subcommands of ``python -m train``."""
