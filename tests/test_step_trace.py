"""The profile of a few steps: the right ones, and once."""

import jax
import numpy as np
import pytest

from cgan_jax import step_trace
from cgan_jax.step_trace import StepTrace


@pytest.fixture
def profiler(monkeypatch):
    """What the profiler is asked to do, and in which step."""
    calls = []
    monkeypatch.setattr(
        jax.profiler, "start_trace", lambda folder: calls.append(("start", folder))
    )
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append(("stop",)))
    return calls


def run_loop(workdir, *, first, last, num_steps):
    trace = StepTrace(workdir, first=first, last=last, num_steps=num_steps)
    for step in range(first, last + 1):
        trace.before(step)
        trace.after(step, np.zeros(2))


@pytest.mark.parametrize(
    ("last", "num_steps", "want"),
    [
        (20, 3, [13, 14, 15]),
        (20, 1, [13]),
        (14, 9, [13, 14]),  # the run ends first
        (12, 3, []),
        (20, 0, []),
    ],
)
def test_steps_after_the_first_two_are_traced(
    tmp_path, monkeypatch, last, num_steps, want
):
    traced, on = [], [False]
    monkeypatch.setattr(jax.profiler, "start_trace", lambda _: on.__setitem__(0, True))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: on.__setitem__(0, False))
    trace = StepTrace(tmp_path, first=11, last=last, num_steps=num_steps)
    for step in range(11, last + 1):
        trace.before(step)
        if on[0]:
            traced.append(step)
        trace.after(step, np.zeros(2))
    assert traced == want
    assert not on[0]


def test_the_folder_is_told(tmp_path, profiler, caplog):
    with caplog.at_level("INFO", logger="absl"):
        run_loop(tmp_path, first=1, last=9, num_steps=2)
    assert profiler == [("start", str(tmp_path / "profile")), ("stop",)]
    assert f"profile of steps 3 to 4: {tmp_path / 'profile'}" in caplog.text


def test_a_run_too_short_to_be_profiled_says_so(tmp_path, profiler, caplog):
    with caplog.at_level("WARNING", logger="absl"):
        run_loop(tmp_path, first=8, last=9, num_steps=2)
    assert profiler == []
    assert "no step is profiled: steps 8 to 9 are left" in caplog.text


def test_the_result_is_awaited_before_the_trace_ends(tmp_path, profiler, monkeypatch):
    monkeypatch.setattr(
        step_trace.jax, "block_until_ready", lambda x: profiler.append(("wait",))
    )
    run_loop(tmp_path, first=1, last=4, num_steps=1)
    assert [call[0] for call in profiler] == ["start", "wait", "stop"]
