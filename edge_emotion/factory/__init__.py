"""Settings become objects: models, cameras, sinks and the node's description."""
