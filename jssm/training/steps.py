"""One training step and one validation step, as pure functions, and the wrap over all devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jssm.config import Augmentation, Config, TrainConfig
from jssm.image_path import from_uint8
from jssm.methods import losses
from jssm.methods.method import AXIS, Method
from jssm.networks import pretrained
from jssm.rasterizer import rasterize
from jssm.shape import labels, order
from jssm.shape.masks import binarize
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
    how: Method, optimizer: optax.GradientTransformation, config: Config
) -> tuple[TrainState, Callable[[], TrainState]]:
    """The shapes of the state before the first step, known at once, and what computes it.

    The settings may name pretrained backbones. Computing raises:
      FileNotFoundError: when the file of weights is not there.
      ValueError: when it does not suit the network.
    """

    def fresh(key: jax.Array) -> TrainState:
        variables = how.init(key)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            variables=variables,
            opt_state=optimizer.init(variables["params"]),
            average=variables if config.train.ema else None,
        )

    key = jax.random.key(config.seed, impl="rbg")
    # One program for all of it compiles faster than one for each array.
    program = jax.jit(fresh).trace(key)

    def compute() -> TrainState:
        state = program.lower().compile()(key)
        if config.init_from:
            weights = pretrained.read(config.init_from)
            variables = pretrained.into_backbones(
                state.variables, weights, depth=config.model.depth, source=config.init_from
            )
            average = jax.tree.map(jnp.copy, variables) if config.train.ema else None
            state = state.replace(variables=variables, average=average)
        return state

    return program.out_info, compute


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    *,
    how: Method,
    optimizer: optax.GradientTransformation,
    augmentation: Augmentation,
    ema: float,
    seed: int,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step on this device's part of the batch, under the mapped axis "batch".

    ``batch`` has image (n, S, S) uint8, mask (n, S, S) uint8, points (n, T, 2), covers (n,), the
    place (n,) of each case in the whole batch, and the scalars point_weight, mask_weight and
    epoch, of which a method takes what it needs. The cases of a clip are augmented alike.
    Gradients and metrics are means over all devices.
    """
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["place"] // how.clip)
    image, mask, points = jax.vmap(lambda *case: augment(*case, options=augmentation))(
        keys, from_uint8(batch["image"]), batch["mask"].astype(jnp.float32), batch["points"]
    )
    batch = batch | {"image": image, "mask": mask, "points": points}

    def objective(params: Any) -> tuple[jax.Array, Any]:
        return how.loss(state.variables | {"params": params}, batch, key)

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


def eval_step(how: Method, variables: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The scores of each case of a batch, each (n,), NaN where its label does not give them.

    dice: of the wall. cavity_dice: of the inner points' polygon. points_loss: Eq. 6, over the
    points that are known. A method without points has the first alone.
    """
    prediction = how.predict(variables, from_uint8(batch["image"]))
    shape, covers = batch["mask"].shape[1:], batch["covers"]
    is_wall = covers == labels.MYOCARDIUM
    if prediction.points is None:
        return {"dice": jnp.where(is_wall, _hard_dice(prediction.mask, batch["mask"]), jnp.nan)}
    strips = prediction.points[:, order.cavity_strip(prediction.points.shape[1])]
    cavity = jax.vmap(lambda p: rasterize(p, shape))(strips)
    is_cavity = covers == labels.CAVITY
    drawn = jnp.where(is_cavity[:, None, None], cavity, prediction.mask)
    dice = _hard_dice(drawn, batch["mask"])
    point_loss = jax.vmap(lambda p, true: losses.point_loss(p, true, shape))
    has_points = jnp.any(jnp.isfinite(batch["points"]), axis=(1, 2))
    scores = {
        "dice": (dice, is_wall),
        "cavity_dice": (dice, is_cavity),
        "points_loss": (point_loss(prediction.points, batch["points"]), has_points),
    }
    return {name: jnp.where(known, value, jnp.nan) for name, (value, known) in scores.items()}


def _hard_dice(predicted: jax.Array, true: jax.Array) -> jax.Array:
    """The Dice (n,) of predicted masks (n, H, W) in [0, 1], thresholded, and true ones."""
    pairs = binarize(predicted).astype(jnp.float32), true.astype(jnp.float32)
    return 1 - jax.vmap(losses.dice_loss)(*pairs)


def parallel(step: Callable, devices: list[jax.Device]) -> jax.stages.Wrapped:
    """``step`` over all devices: the state replicated, the batch split along its first axis.

    It takes and gives the state as :func:`feed.replicate` places it (and reuses its memory:
    do not use the old one again), and batches as :func:`feed.place` does.
    """
    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, None),
        devices=devices,
        donate_argnums=(0,),
    )
