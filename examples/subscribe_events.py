"""Print the events of all cameras until Ctrl-C, and then the number of missed events.

    python examples/subscribe_events.py broker.local

Without an argument the broker is that of EDGE_EMOTION_MQTT__HOST; user and password come from
EDGE_EMOTION_MQTT__USERNAME and EDGE_EMOTION_MQTT__PASSWORD.
"""

import sys

from edge_emotion.client import Client, broker_settings


def main() -> None:
    """Subscribe to all nodes."""
    client = Client(broker_settings(sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        with client:
            for event in client.events():
                place = f"{event.node}/{event.camera}"
                print(f"{event.ts:%H:%M:%S} {place}: {event.type} {event.emotion} {event.confidence:.0%}", flush=True)
    except KeyboardInterrupt:
        totals = client.totals
        print(f"{totals.events} events, {totals.missed} missed")


if __name__ == "__main__":
    main()
