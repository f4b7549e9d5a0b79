"""Events until the broker has acknowledged them, and the node's event counter."""
