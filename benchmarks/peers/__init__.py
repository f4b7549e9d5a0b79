"""The same work done by other programs (peers), each in its own environment. Workers import nothing of edge_emotion."""
