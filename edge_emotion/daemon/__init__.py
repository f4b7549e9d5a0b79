"""The running node: its main loop, its cameras and their threads, control and reload."""
