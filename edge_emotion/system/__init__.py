"""The operating system: files, paths, sensors, systemd."""
