"""One training step, as a pure function, the state it changes, and its wrap over all devices."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jssm.config import Augmentation, Config, TrainConfig
from jssm.image_path import from_uint8
from jssm.methods.method import AXIS, Method
from jssm.training import hosts
from jssm.training.augment import augment


class TrainState(struct.PyTreeNode):
    """What a step changes: its number, the Linen variables, the optimizer's state, and the moving
    average of the variables (None where it is off)."""

    step: jax.Array
    variables: Any
    opt_state: Any
    average: Any

    @property
    def best_variables(self) -> Any:
        """The variables to predict with."""
        return self.variables if self.average is None else self.average


def make_optimizer(options: TrainConfig, steps_per_epoch: int) -> optax.GradientTransformation:
    """Adam (with decoupled weight decay, a warm-up, a cosine and clipping where asked for)."""
    steps = options.epochs * steps_per_epoch
    warmup = options.warmup_epochs * steps_per_epoch
    decay = (
        optax.cosine_decay_schedule(options.learning_rate, max(steps - warmup, 1))
        if options.cosine
        else optax.constant_schedule(options.learning_rate)
    )
    ramp = optax.linear_schedule(0.0, options.learning_rate, warmup)
    schedule = optax.join_schedules([ramp, decay], [warmup]) if warmup else decay
    return optax.chain(
        optax.clip_by_global_norm(options.clip_norm) if options.clip_norm else optax.identity(),
        optax.adamw(schedule, weight_decay=options.weight_decay),
    )


def first_state(
    method: Method,
    optimizer: optax.GradientTransformation,
    config: Config,
    *,
    into: Callable[[Any], Any] | None = None,
) -> tuple[TrainState, Callable[[], TrainState]]:
    """The shapes of the state before the first step, known at once, and what computes it.

    into: puts into the first variables what the training starts from (:mod:`jssm.methods.start`).

    Raises:
      ValueError: when that does not suit the network.
    """

    def fresh(key: jax.Array) -> TrainState:
        variables = method.init(key)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            variables=variables,
            opt_state=optimizer.init(variables["params"]),
            average=variables if config.train.ema else None,
        )

    key = jax.random.key(config.seed, impl="rbg")
    # One program for all of it compiles faster than one for each array.
    program = jax.jit(fresh).trace(key)
    if into:
        into(program.out_info.variables)  # finds what does not suit

    def compute() -> TrainState:
        state = program.lower().compile()(key)
        if into is None:
            return state
        variables = into(state.variables)
        average = jax.tree.map(jnp.copy, variables) if config.train.ema else None
        return state.replace(variables=variables, average=average)

    return program.out_info, compute


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    *,
    method: Method,
    optimizer: optax.GradientTransformation,
    augmentation: Augmentation,
    ema: float,
    seed: int,
    closed: bool = False,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step on this device's part of the batch, under the mapped axis "batch".

    ``batch`` has image (n, S, S) uint8, mask (n, S, S) uint8, points (n, T, 2), covers (n,), the
    place (n,) of each case in the whole batch, and the scalars point_weight, mask_weight and
    epoch, of which a method takes what it needs. The cases of a clip are augmented alike; closed:
    their shapes are rings.
    Gradients and metrics are means over all devices.
    """
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["place"] // method.clip)
    of_case = partial(augment, options=augmentation, closed=closed)
    image, mask, points = jax.vmap(of_case)(
        keys, from_uint8(batch["image"]), batch["mask"].astype(jnp.float32), batch["points"]
    )
    batch = batch | {"image": image, "mask": mask, "points": points}

    def objective(params: Any) -> tuple[jax.Array, Any]:
        return method.loss(state.variables | {"params": params}, batch, key)

    params = state.variables["params"]
    grads, (metrics, batch_stats) = jax.grad(objective, has_aux=True)(params)
    grads, metrics = jax.lax.pmean((grads, metrics), AXIS)
    updates, opt_state = optimizer.update(grads, state.opt_state, params)
    variables = {"params": optax.apply_updates(params, updates), "batch_stats": batch_stats}
    average = state.average
    if average is not None:
        # Early on the plain mean of the weights so far, so that the start is soon forgotten.
        rate = jnp.maximum(1 - ema, 1 / (state.step + 1.0))
        average = optax.incremental_update(variables, average, rate)
    return TrainState(state.step + 1, variables, opt_state, average), metrics


def parallel(step: Callable, devices: list[jax.Device]) -> jax.stages.Wrapped:
    """``step`` over all devices: the state replicated, the batch split along its first axis.

    ``devices`` are those of this process; those of all others take part. It takes and gives the
    state as :func:`feed.replicate` places it (and reuses its memory: do not use the old one again),
    and takes batches as :func:`feed.place` does.
    """
    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, None),
        devices=hosts.all_devices(devices),
        donate_argnums=(0,),
    )


@contextmanager
def no_collection() -> Iterator[None]:
    """Without Python's search for cyclic garbage, a sixth of the time that it takes to trace."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
