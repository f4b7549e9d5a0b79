"""Draws what `edge-emotion collect` has stored in a DuckDB file: emotions by hour, and latency by node.

Usage: python examples/plot_emotions.py emotions.duckdb emotions.png      Needs duckdb and matplotlib.
"""

import sys

import duckdb
import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HOURS = """
SELECT extract(hour FROM ts) AS hour, emotion, count(*) AS faces FROM emotion_event
WHERE type <> 'end' AND emotion <> 'unknown' GROUP BY 1, 2 ORDER BY 1, 2
"""
LATENCY = """
SELECT node, quantile_cont(latency_ms, 0.5) AS p50, quantile_cont(latency_ms, 0.99) AS p99 FROM emotion_event
WHERE NOT replayed GROUP BY node ORDER BY p99 DESC LIMIT 20
"""


def main(file: str, picture: str) -> None:
    """Read the file and write the picture; the file must not be in use by the collector at this moment."""
    with duckdb.connect(file, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        hours, latency = connection.execute(HOURS).fetchall(), connection.execute(LATENCY).fetchall()
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
    below = [0] * 24
    for emotion in sorted({row[1] for row in hours}):
        faces = [sum(row[2] for row in hours if (int(row[0]), row[1]) == (hour, emotion)) for hour in range(24)]
        left.bar(range(24), faces, bottom=below, label=emotion)
        below = [a + b for a, b in zip(below, faces, strict=True)]
    left.set(xlabel="hour (UTC)", ylabel="expressions", title="What was named, by hour")
    left.legend(fontsize="small")
    right.barh([row[0] for row in latency], [row[2] for row in latency], label="p99", color="lightsteelblue")
    right.barh([row[0] for row in latency], [row[1] for row in latency], label="p50", color="steelblue")
    right.set(xlabel="ms from capture to hand-over", title="Latency by node")
    right.legend(fontsize="small")
    figure.savefig(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
