"""Where events go: one adapter per file, each an ``EventSink``; ``memory`` is the shipped fake."""
