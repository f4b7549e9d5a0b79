"""Two workers that share the events of all nodes: each event goes to one of them.

    python examples/shared_subscription.py broker.local

In practice the workers are processes, perhaps on several machines: clients with the same group name are a group.
"""

import sys
import threading

from edge_emotion.client import Client, broker_settings


def work(name: str, client: Client) -> None:
    """Take events until the client is closed."""
    for event in client.events():
        print(f"{name}: {event.node}/{event.camera} {event.type} {event.emotion} (seq {event.seq})", flush=True)


def main() -> None:
    """Start two workers and wait for Ctrl-C."""
    settings = broker_settings(sys.argv[1] if len(sys.argv) > 1 else None)
    clients = {name: Client(settings, group="workers") for name in ("worker 1", "worker 2")}
    threads = [threading.Thread(target=work, args=job) for job in clients.items()]
    try:
        for client in clients.values():
            client.connect()
        for thread in threads:
            thread.start()
        print("ready", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        for client in clients.values():
            client.close()
    print(", ".join(f"{name} took {client.totals.events}" for name, client in clients.items()))


if __name__ == "__main__":
    main()
