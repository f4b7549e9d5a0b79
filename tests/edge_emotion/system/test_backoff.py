from __future__ import annotations

from edge_emotion.system.backoff import Backoff


def test_retry_delays_double_up_to_a_limit_and_are_drawn_from_their_upper_half() -> None:
    low, high = Backoff(1.0, 8.0, lambda: 0.0), Backoff(1.0, 8.0, lambda: 1.0)
    assert [low.next() for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]
    assert [high.next() for _ in range(5)] == [1.0, 2.0, 4.0, 8.0, 8.0]
    high.reset()
    assert high.next() == 1.0
