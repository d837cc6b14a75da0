"""metrics.jsonl: one line a step, also after interruptions."""

import json
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from cgan_jax.metric_writer import MetricWriter, read_metrics


def read(workdir):
    return [json.loads(line) for line in lines(workdir)]


def lines(workdir):
    return (workdir / "metrics.jsonl").read_text().splitlines()


def write_steps(workdir, steps, *, from_step, loss=0.5):
    writer = MetricWriter(workdir, from_step=from_step)
    for step in steps:
        writer.write(step, {"loss": loss})
    writer.close()


def events(workdir):
    """What the event files hold, file by file in the order in which they were begun."""
    found = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:  # length, its checksum, the event, its checksum
            (length,) = struct.unpack("<Q", data[:8])
            body, data = data[12 : 12 + length], data[16 + length :]
            found.append(Event.FromString(body))
    return found


def test_each_write_is_a_line_at_once(tmp_path):
    writer = MetricWriter(tmp_path, from_step=0)
    writer.write(10, {"loss": 0.25, "accuracy": 1.0})
    assert read(tmp_path) == [{"step": 10, "loss": 0.25, "accuracy": 1.0}]
    writer.write(20, {"loss": 0.125, "accuracy": 0.0})
    assert read(tmp_path)[1] == {"step": 20, "loss": 0.125, "accuracy": 0.0}
    writer.close()


def test_a_new_run_starts_an_empty_file(tmp_path):
    MetricWriter(tmp_path, from_step=0)
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_resumed_run_cuts_off_what_its_checkpoint_does_not_know(tmp_path):
    write_steps(tmp_path, [10, 20, 30, 40], from_step=0)
    before = lines(tmp_path)
    MetricWriter(tmp_path, from_step=20)
    assert lines(tmp_path) == before[:2]


def test_a_resumed_run_has_each_step_once(tmp_path):
    write_steps(tmp_path, [10, 20, 30, 40], from_step=0, loss=1.0)
    write_steps(tmp_path, [30, 40, 50], from_step=25, loss=2.0)
    assert [(line["step"], line["loss"]) for line in read(tmp_path)] == [
        (10, 1.0),
        (20, 1.0),
        (30, 2.0),
        (40, 2.0),
        (50, 2.0),
    ]


@pytest.mark.parametrize("torn", ['{"step": 20, "lo', '{"step": 20, "loss": 0.5}', "{"])
def test_a_last_line_that_a_kill_cut_off_is_dropped(tmp_path, torn):
    write_steps(tmp_path, [10], from_step=0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(torn)
    write_steps(tmp_path, [20, 30], from_step=20)
    assert [line["step"] for line in read(tmp_path)] == [10, 20, 30]


def test_no_other_file_is_left(tmp_path):
    write_steps(tmp_path, [1], from_step=0)
    write_steps(tmp_path, [2], from_step=1)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["metrics.jsonl", "tensorboard"]


def test_tensorboard_gets_the_same_scalars(tmp_path):
    writer = MetricWriter(tmp_path, from_step=0)
    writer.write(10, {"loss": 0.25, "accuracy": 1.0})
    writer.write(20, {"loss": 0.5})
    writer.close()
    scalars = [
        (event.step, value.tag, value.simple_value)
        for event in events(tmp_path)
        for value in event.summary.value
    ]
    assert scalars == [(10, "loss", 0.25), (10, "accuracy", 1.0), (20, "loss", 0.5)]


def test_a_resumed_run_hides_from_tensorboard_what_it_does_again(tmp_path):
    write_steps(tmp_path, [10, 20, 30], from_step=0)
    write_steps(tmp_path, [30], from_step=20)
    # A start of session at step 21: what came before, from there on, is not shown.
    started = [e.step for e in events(tmp_path) if e.HasField("session_log")]
    assert started == [1, 21]


def test_a_run_that_writes_nothing_begins_no_event_file(tmp_path):
    MetricWriter(tmp_path, from_step=0).close()
    assert not (tmp_path / "tensorboard").exists()


def test_metrics_are_read_as_they_were_written(tmp_path):
    write_steps(tmp_path, [10, 20], from_step=0)
    assert read_metrics(tmp_path) == [
        {"step": 10, "loss": 0.5},
        {"step": 20, "loss": 0.5},
    ]
