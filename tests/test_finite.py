"""The first step, and its first tensor, that is infinite or not a number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgan_jax.finite import NonFiniteError, Watch, watched
from cgan_jax.models import GanPair
from cgan_jax.train_state import GanState


def make_state():
    def tree(n):
        return {"conv": {"kernel": jnp.ones((n, 2)), "bias": jnp.zeros(n)}}

    return GanState(
        step=jnp.zeros((), jnp.int32),
        params=GanPair(tree(2), tree(3)),
        batch_stats=GanPair({"mean": jnp.zeros(2)}, {"mean": jnp.zeros(3)}),
        opt_state=GanPair((), ()),
        ema_params=tree(2),
    )


def step_fn(state, bad, value):
    """Puts a value into one entry of each tensor of an index in `bad`; counts its steps."""

    def spoil(i, x):
        return x.at[(0,) * x.ndim].set(jnp.where(bad[i], value, x[(0,) * x.ndim]))

    leaves, tree = jax.tree.flatten((state.params, state.batch_stats))
    leaves = [spoil(i, x) for i, x in enumerate(leaves)]
    params, batch_stats = jax.tree.unflatten(tree, leaves)
    loss = jnp.where(bad[-1], value, 0.25)
    new = state.replace(params=params, batch_stats=batch_stats, step=state.step + 1)
    return new, {"gen_loss": loss * 2, "disc_loss": loss}


STEP = jax.jit(watched(step_fn))


def watch(steps, value=jnp.nan):
    """What a watch says after steps, each told by which tensors it spoils, by index."""
    state, seen = make_state(), Watch(make_state())
    for i, bad in enumerate(steps, 1):
        flags = np.zeros(7, bool)
        flags[list(bad)] = True
        state, metrics = STEP(state, flags, value)
        seen.add(i, metrics)
    return seen


# Indices in step_fn: params.gen bias, kernel, params.disc bias, kernel, the two means,
# the losses.
@pytest.mark.parametrize(
    ("index", "name"),
    [
        (0, "params.gen.conv.bias"),
        (1, "params.gen.conv.kernel"),
        (2, "params.disc.conv.bias"),
        (3, "params.disc.conv.kernel"),
        (4, "batch_stats.gen.mean"),
        (5, "batch_stats.disc.mean"),
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_step_and_the_tensor_are_named(index, name, value):
    seen = watch([[], [], [index], range(6), []], value)
    with pytest.raises(
        NonFiniteError,
        match=rf"^step 3 is not finite: the first bad tensor is {name}$",
    ):
        seen.newest()


def test_of_many_tensors_the_first_in_the_order_of_the_step_is_named():
    with pytest.raises(NonFiniteError, match=r"is params\.disc\.conv\.bias$"):
        watch([[0, 1, 2, 3]]).newest()


def test_a_loss_is_named_with_its_value():
    with pytest.raises(
        NonFiniteError,
        match="^step 1 is not finite: disc_loss is inf, gen_loss is inf$",
    ):
        watch([[6]], jnp.inf).newest()


def test_finite_steps_give_the_newest_scalars_and_are_forgotten():
    seen = watch([[], []])
    assert seen.newest() == {"gen_loss": 0.5, "disc_loss": 0.25}
    state, metrics = STEP(make_state(), np.zeros(7, bool), jnp.nan)
    seen.add(3, ({"gen_loss": jnp.float32(8)}, metrics[1]))
    assert seen.newest() == {"gen_loss": 8.0}
    assert state.step == 1
