"""``edge-emotion forget NODE``: empties the retained topics of a node that is gone."""

from __future__ import annotations

from edge_emotion.client.retained import forget
from edge_emotion.config.settings import MqttSettings


def forget_node(settings: MqttSettings, node: str, *, force: bool) -> None:
    """Empty and print the topics. Raises like ``forget``."""
    cleared = forget(settings, node, force=force)
    for topic in cleared:
        print(topic)
    if cleared:
        print(f"{len(cleared)} retained topics of node {node} were emptied")
    else:
        print(f"nothing is retained below {settings.prefix}/{node}, or this user may not read it")
