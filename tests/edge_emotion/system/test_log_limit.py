"""A flood of log lines is a few lines and a number."""

from __future__ import annotations

import logging

import pytest

from edge_emotion.system.log_limit import LogLimit


def test_a_few_lines_are_written_in_each_period_and_the_others_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    limit = LogLimit(logging.getLogger("flood"), most=2, period=60, clock=lambda: now[0])
    for n in range(1000):
        limit.warning("message %d", n)
    assert caplog.messages == ["message 0", "message 1"]
    now[0] += 61
    limit.warning("message %d", 1000)
    assert caplog.messages[2:] == ["998 more warnings of the next kind were not logged", "message 1000"]
    now[0] += 61
    limit.warning("message %d", 1001)
    assert caplog.messages[4:] == ["message 1001"], "nothing was left out in between"
