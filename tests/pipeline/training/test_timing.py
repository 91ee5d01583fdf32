"""Seconds by phase."""

import pytest

from ta2n.pipeline.training.timing import Stopwatch


def test_phases_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 1.0, 5.0, 8.0, 10.0, 11.0])
    monkeypatch.setattr("ta2n.pipeline.training.timing.time.perf_counter", lambda: next(ticks))
    watch = Stopwatch()
    with watch("wait"):
        pass
    with pytest.raises(KeyError), watch("forward"):
        raise KeyError
    with watch("wait"):
        pass
    assert watch.seconds == {"wait": 2.0, "forward": 3.0}
