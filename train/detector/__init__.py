"""Training the face detector YuNet further."""
