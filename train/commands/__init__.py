"""The subcommands of ``python -m train`` that were written for this folder."""
