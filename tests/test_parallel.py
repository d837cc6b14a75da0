"""However many devices share a batch, the step is the same."""

import dataclasses
import functools
import logging
import os
import subprocess
import sys

import chex
import jax
import numpy as np
import optax
import pytest
from jax import lax

from cgan_jax import parallel, train_step
from cgan_jax.configs import default
from cgan_jax.models import GanPair, make_models
from cgan_jax.parallel import AXIS_NAME, parallel_step, replicate, shard_batch
from cgan_jax.train_state import create_state

ARCHITECTURE = {"base_filters": 4, "z_dim": 6, "height": 16}
MODELS = make_models(**ARCHITECTURE, axis_name=AXIS_NAME)
# Plain descent; with a momentum of 0 its state is the last gradient.
TX = GanPair(optax.sgd(0.01, momentum=0.0), optax.sgd(0.01, momentum=0.0))
RECIPE = train_step.Recipe.of(default.get_config().train)
KEY = jax.random.key(3)
NUM_STEPS = 5


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def first_state():
    create = jax.jit(functools.partial(create_state, MODELS, TX))
    return jax.device_get(create(jax.random.key(0)))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    # Brighter towards the end: each device sees other statistics.
    brightness = np.linspace(-0.5, 0.5, 8)[:, None, None, None]
    noise = rng.uniform(-0.5, 0.5, (8, *MODELS.gen.joint.shape))
    return (noise + brightness).astype(np.float32)


def step_function(models, axis_name):
    return functools.partial(
        train_step.train_step,
        models=models,
        tx=TX,
        recipe=RECIPE,
        axis_name=axis_name,
    )


def follow(step_fn, state, batch, num_steps=NUM_STEPS):
    """State and metrics after each step, on the host."""
    history = []
    for _ in range(num_steps):
        state, metrics = step_fn(state, batch, KEY)
        history.append(jax.device_get((state, metrics)))
    return history


@pytest.fixture(scope="module")
def alone(first_state, batch):
    """What a step does that knows of no devices."""
    models = make_models(**ARCHITECTURE)
    return follow(jax.jit(step_function(models, None)), first_state, batch)


@pytest.fixture(scope="module")
def shared(first_state, batch):
    """What the step does that so many devices share; computed once for each number."""

    @functools.cache
    def on(num_devices):
        chex.clear_trace_counter()

        @chex.assert_max_traces(n=1)
        def step(state, batch, key):
            return step_function(MODELS, AXIS_NAME)(state, batch, key)

        state = replicate(first_state, num_devices)
        return follow(parallel_step(step, num_devices), state, batch)

    return on


def largest_error(got, want):
    """Of all tensors, in parts of the largest entry of each."""
    errors = jax.tree.map(
        lambda a, b: np.abs(a - b).max() / max(np.abs(b).max(), 1e-30), got, want
    )
    return max(jax.tree.leaves(errors))


@pytest.mark.parametrize("num_devices", [1, 2, 4])
def test_any_number_of_devices_makes_the_same_first_step(num_devices, alone, shared):
    (state, metrics), (want, want_metrics) = shared(num_devices)[0], alone[0]
    assert largest_error(metrics, want_metrics) < 1e-5
    assert largest_error(state, want) < 1e-5
    gradients = jax.tree.leaves(want.opt_state)
    assert len(gradients) == len(jax.tree.leaves(want.params))
    assert min(np.abs(g).max() for g in gradients) > 0


@pytest.mark.parametrize("num_devices", [1, 2, 4])
def test_any_number_of_devices_arrives_at_the_same_state(num_devices, alone, shared):
    (state, _), (want, _) = shared(num_devices)[-1], alone[-1]
    assert state.step == NUM_STEPS
    assert largest_error(state.params, want.params) < 1e-5
    # Rounding differs, each step builds on the one before, and where a value is all
    # but 0 the slope of a leaky ReLU may be taken from the other side.
    assert largest_error(state, want) < 1e-3


def differs(step_fn, first_state, batch, alone, num_steps):
    """Errors of gradients, losses and parameters where two devices share the batch."""
    step_fn = parallel_step(step_fn, 2)
    history = follow(step_fn, replicate(first_state, 2), batch, num_steps)
    (state, metrics), (want, want_metrics) = history[0], alone[0]
    return (
        largest_error(state.opt_state, want.opt_state),
        largest_error(metrics, want_metrics),
        largest_error(history[-1][0].params, alone[num_steps - 1][0].params),
    )


def test_without_the_mean_over_devices_the_step_would_differ(
    first_state, batch, alone, monkeypatch
):
    """No mean at all, of gradients, losses, or batch norm's statistics."""
    monkeypatch.setattr(lax, "pmean", lambda tree, axis_name, **_: tree)
    step_fn = step_function(MODELS, AXIS_NAME)
    gradients, losses, params = differs(step_fn, first_state, batch, alone, NUM_STEPS)
    assert gradients > 0.1 and losses > 0.01 and params > 1e-3


def test_without_the_mean_of_the_gradients_the_step_would_differ(
    first_state, batch, alone, monkeypatch
):
    monkeypatch.setattr(train_step, "mean_over_devices", lambda tree, axis_name: tree)
    step_fn = step_function(MODELS, AXIS_NAME)
    gradients, losses, _ = differs(step_fn, first_state, batch, alone, 1)
    assert gradients > 0.1 and losses > 0.01


def test_without_the_statistics_of_the_whole_batch_the_step_would_differ(
    first_state, batch, alone
):
    step_fn = step_function(make_models(**ARCHITECTURE), AXIS_NAME)
    gradients, losses, _ = differs(step_fn, first_state, batch, alone, 1)
    assert gradients > 0.1 and losses > 0.01


def gathered(recipe, num_devices):
    """The latents and offsets of a step, of all devices together."""

    def gather(state, batch, key):
        latents = train_step._local_latents(
            key,
            local_batch=len(batch),
            gen=MODELS.gen,
            recipe=recipe,
            axis_name=AXIS_NAME,
        )
        return state, lax.all_gather(latents, AXIS_NAME, tiled=True)

    step_fn = parallel_step(gather, num_devices)
    state = replicate(np.zeros(()), num_devices)
    return step_fn(state, np.zeros((8, 1), np.float32), KEY)[1]


@pytest.mark.parametrize("num_devices", [1, 2, 4])
def test_each_device_draws_its_part_of_the_same_latents(num_devices):
    z, offsets = gathered(RECIPE, num_devices)
    want = jax.random.uniform(KEY, (8, 6), minval=-1.0, maxval=1.0)
    np.testing.assert_array_equal(z, want)
    assert len(offsets) == 0


def test_each_device_draws_its_part_of_the_same_offsets():
    noisy = dataclasses.replace(RECIPE, inner_noise=0.5)
    one, *others = (gathered(noisy, n) for n in (1, 2, 4))
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, other, one)
    z, offsets = one
    np.testing.assert_array_equal(z, gathered(RECIPE, 1)[0])
    shapes = MODELS.gen.inner_shapes[: noisy.inner_layers]
    assert [x.shape for x in offsets] == [(8, *shape) for shape in shapes]
    flat = np.concatenate([x.reshape(8, -1) for x in offsets], 1)
    assert len(np.unique(flat, axis=0)) == 8
    assert 0.4 < flat.std() < 0.6


def compilations(state, num_devices, caplog):
    """How often each of three steps compiles something."""

    def add(state, batch, key):
        return state + lax.psum(batch.sum(), AXIS_NAME), key

    step_fn = parallel_step(add, num_devices)
    counts = []
    for _ in range(3):
        caplog.clear()
        with caplog.at_level(logging.WARNING), jax.log_compiles():
            state, _ = step_fn(state, np.ones((4, 2), np.float32), KEY)
        counts.append(sum("Compiling" in r.getMessage() for r in caplog.records))
    assert state == 24
    return counts


@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize("place", ["replicated", "by_jax", "on_the_host"])
def test_nothing_compiles_after_the_first_step(place, num_devices, caplog):
    state = {
        "replicated": replicate(np.float32(0), num_devices),
        "by_jax": jax.numpy.float32(0),
        "on_the_host": np.float32(0),
    }[place]
    first, *later = compilations(state, num_devices, caplog)
    assert first > 0 and later == [0, 0]


def test_replicated_values_lie_whole_on_each_device():
    tree = replicate({"a": np.arange(3.0), "b": np.int32(2)}, 3)
    for leaf in jax.tree.leaves(tree):
        shards = leaf.addressable_shards
        assert len({shard.device for shard in shards}) == 3
        for shard in shards:
            np.testing.assert_array_equal(shard.data, leaf)


def test_a_batch_is_dealt_out_in_order():
    batch = np.arange(12).reshape(6, 2)
    np.testing.assert_array_equal(
        shard_batch(batch, 3), [batch[0:2], batch[2:4], batch[4:6]]
    )


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(
        ValueError, match="6 does not divide among 4.*batch_size or --num_devices"
    ):
        shard_batch(np.zeros((6, 2)), 4)


@pytest.mark.parametrize(
    "use", [lambda n: replicate(0, n), lambda n: parallel_step(max, n)]
)
def test_more_devices_than_there_are_is_refused(use):
    with pytest.raises(ValueError, match="num_devices=5, but this process has 4"):
        use(5)
    assert len(parallel._devices(4)) == 4


@pytest.mark.parametrize(
    ("xla_flags", "expected"),
    [("", 3), ("--xla_force_host_platform_device_count=2", 2)],
)
def test_a_cpu_becomes_as_many_devices_as_asked(xla_flags, expected):
    code = (
        "from cgan_jax import parallel\n"
        "parallel.split_cpu(3)\n"
        "print(parallel.num_local())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"XLA_FLAGS": xla_flags},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == expected
