"""From a frame to events: detection, tracking, classification, smoothing and the event policy."""
