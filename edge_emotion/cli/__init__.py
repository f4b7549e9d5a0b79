"""The command ``edge-emotion``: one file for each of its subcommands."""
