"""Tracking: its network and losses, the clips it learns from, and points carried by its flow."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from scipy import ndimage

from benchmarks.tables import tracked
from jssm import config, dataset
from jssm.config import Augmentation, BaselineConfig, Config, ModelConfig, TrainConfig
from jssm.methods.baselines import tracking
from jssm.methods.method import Method
from jssm.shape import affine, labels
from jssm.training import feed, loop
from tests import reference, toy
from tests.conftest import SIZE, write_dataset
from tests.prep_shapes import Horseshoe
from tests.runs import assert_same, descent, stop_at

CLIP = 4


def settings(data="x", *, batch_size=8, **baseline) -> Config:
    """A run of two epochs of two steps."""
    return Config(
        data=str(data),
        method="tracking",
        model=ModelConfig(size=SIZE, width=4),
        baseline=BaselineConfig(**baseline),
        train=TrainConfig(batch_size=batch_size, epochs=2, learning_rate=0.01),
        augment=Augmentation(rotation_degrees=10.0, noise=0.1),
    )


@pytest.fixture(scope="module")
def how() -> Method:
    return tracking.method(settings(), {})


@pytest.fixture(scope="module")
def cines(tmp_path_factory):
    """A data set of cines: 8 and 5 frames of one patient, 3 of another, 4 for validation."""
    directory = write_dataset(tmp_path_factory.mktemp("cines") / "data")
    table = pd.read_csv(directory / "cases.csv")
    table["patient"] = ["a"] * 13 + ["b"] * 3 + ["c"] * 4
    table["image"] = ["1.png"] * 8 + ["2.png"] * 5 + ["3.png"] * 3 + ["4.png"] * 4
    # Frames out of order, with a gap where one was excluded.
    table["frame"] = [7, 1, 2, 3, 4, 5, 6, 0, *(9, 0, 1, 2, 3), *(0, 1, 2), *range(4)]
    table.to_csv(directory / "cases.csv", index=False)
    return directory


def following(row):
    """The four rows of the clip that begins with each training case of ``cines``."""
    for cine in ([7, 1, 2, 3, 4, 5, 6, 0], [9, 10, 11, 12, 8], [13, 14, 15]):
        if row in cine:
            return [cine[(cine.index(row) + k) % len(cine)] for k in range(CLIP)]
    raise AssertionError(row)


def moving_square(start, speed, *, frames=CLIP):
    """A cine (frames, SIZE, SIZE) of a square of 9 pixels, its centre moving evenly."""
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    centers = np.array(start) + np.arange(frames)[:, None] * np.array(speed)
    inside = [np.clip(4.5 - abs(x - a), 0, 1) * np.clip(4.5 - abs(y - b), 0, 1) for a, b in centers]
    return np.stack(inside).astype(np.float32)


def under_axis(function):
    """The function jitted, under the mapped axis of one device."""
    mapped = jax.vmap(function, (None, 0), axis_name=feed.AXIS)
    return jax.jit(lambda a, b: jax.tree.map(lambda x: x[0], mapped(a, jax.tree.map(_one, b))))


def _one(leaf):
    return jnp.asarray(leaf)[None]


def _size(tree):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))


def test_the_network_has_the_published_layers():
    """VGG16's convolutions on grey images; two branches of five 3×3 convolutions, the sum's 1×1,
    another and the last one; batch normalization for biases; the recurrent weights."""
    encoder = 14_710_464 - 2 * 9 * 64 + 2 * 4224
    levels = 64 + 128 + 256 + 512 + 512
    branches = 3 * levels * 9 * 64 + 2 * (5 * 128 + (5 * 64 + 1) * 64 + 64 * 64 + 128)
    last = (64 + 1) + (2 * 64 + 2) + 4
    network = tracking.network_from(Config())
    shapes = jax.eval_shape(
        lambda: network.init(jax.random.key(0), jnp.zeros((1, 2, 32, 32)), train=False)
    )
    found = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes["params"]))
    assert found == encoder + branches + last


def test_a_branch_combines_the_widened_features_of_all_levels():
    """As published: widened, set side by side, and combined by one 1×1 convolution."""
    rng = np.random.default_rng(0)
    sides = (8, 4)
    features = [jnp.asarray(rng.normal(size=(2, s, s, 3)), jnp.float32) for s in sides]
    head = tracking.Head(2, 3, jnp.float32, None)
    start = jax.jit(lambda key: head.init_with_output(key, features, train=False))
    found, variables = start(jax.random.key(1))
    params = variables["params"]

    def block(x, name, kernel):
        module = tracking.Convolutions(3, 1, kernel)
        given = {group: values[name] for group, values in variables.items()}
        return module.apply(given, x, train=False)

    wide = [
        jax.image.resize(block(x, f"Convolutions_{i}", 3), (2, 8, 8, 3), "linear")
        for i, x in enumerate(features)
    ]
    kernel = np.concatenate([params[f"Conv_{i}"]["kernel"][0, 0] for i in range(2)])
    combined = jnp.concatenate(wide, -1) @ kernel + params["Conv_0"]["bias"]
    last = params["Conv_2"]
    expected = block(combined, "Convolutions_2", 1) @ last["kernel"][0, 0] + last["bias"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_recurrent_unit_against_a_loop():
    rng = np.random.default_rng(1)
    weights, inputs = rng.normal(size=(2, 2)), rng.normal(size=(3, 5, 2, 4, 2))
    state, expected = np.zeros((3, 2, 4, 2)), []
    for f in range(5):
        recalled = np.einsum("ij,nhwj->nhwi", weights, state)
        state = np.tanh(inputs[:, f] + recalled)
        expected.append(state)
    found = tracking.unroll(jnp.asarray(weights), jnp.asarray(inputs))
    np.testing.assert_allclose(found, np.stack(expected, 1), atol=1e-5)


def test_a_frame_is_brought_back_by_its_flow():
    clip = moving_square((12, 14), (2.0, -1.0))
    right = np.arange(CLIP)[:, None, None, None] * np.broadcast_to([2.0, -1.0], (SIZE, SIZE, 2))
    for frame, flow in zip(clip, right, strict=True):
        np.testing.assert_allclose(tracking.bring_back(frame, flow), clip[0], atol=1e-6)
    assert float(tracking.warping_loss(clip, right)) == pytest.approx(0, abs=1e-9)
    y, x = np.mgrid[:SIZE, :SIZE]
    beyond = np.stack([3.0 * (x - 16), 3.0 * (y - 16)], -1)
    found = tracking.bring_back(clip[0] + 5, beyond)
    assert float(found[0, 0]) == float(found[-1, -1]) == 5  # the margin


def test_descent_on_the_warping_loss_goes_the_way_of_the_motion():
    clip = moving_square((12.3, 14.4), (0.8, -0.6), frames=2)

    @jax.jit
    def loss(shift):
        flow = jnp.broadcast_to(shift, (2, SIZE, SIZE, 2))
        return tracking.warping_loss(clip, flow)

    down = -np.asarray(jax.grad(loss)(jnp.array([0.1, -0.1])))
    assert down[0] > 0 > down[1]


def test_smoothness_against_its_definition():
    flow = np.random.default_rng(2).normal(size=(5, 8, 2))
    squares = 0.0
    for axis, half in ((0, 4.0), (1, 2.5)):  # half the width for x, half the height for y
        u = flow[..., axis] / half
        squares += sum((u[i + 1, j] - u[i, j]) ** 2 for i in range(4) for j in range(8))
        squares += sum((u[i, j + 1] - u[i, j]) ** 2 for i in range(5) for j in range(7))
    assert float(tracking.smoothness_loss(flow)) == pytest.approx(np.sqrt(0.01 + squares), rel=1e-5)
    even = jax.jit(jax.grad(tracking.smoothness_loss))(jnp.ones((5, 8, 2)))
    np.testing.assert_array_equal(even, 0)


def test_points_are_carried_by_an_affine_flow():
    """Bilinear reading of a linear displacement is exact."""
    thetas = np.array([[[1, 0, 0], [0, 1, 0]], [[1.1, 0.2, -3], [-0.1, 0.9, 2]]], np.float32)
    grid = np.stack(np.meshgrid(np.arange(30.0), np.arange(20.0)), -1)
    flow = np.stack([np.asarray(affine.apply(t, grid.reshape(-1, 2))) for t in thetas])
    flow = flow.reshape(2, 20, 30, 2) - grid
    points = np.random.default_rng(3).uniform(0, 19, (7, 2))
    found = tracking.carry(jnp.asarray(points), jnp.asarray(flow))
    expected = [reference.affine_apply(t, points) for t in thetas]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_unknown_points_stay_unknown_and_those_outside_move_as_the_margin():
    flow = jnp.broadcast_to(jnp.array([1.0, -2.0]), (3, 6, 6, 2))
    found = tracking.carry(jnp.array([[np.nan, np.nan], [-4.0, 9.0]]), flow)
    assert np.isnan(found[:, 0]).all()
    np.testing.assert_allclose(found[:, 1], [[-3.0, 7.0]] * 3)


def test_flow_and_masks_have_the_size_of_the_images(how):
    """Of any size and number of frames; a single image does not move."""
    variables = jax.eval_shape(how.init, jax.random.key(0))
    found = jax.eval_shape(how.flow, variables, np.zeros((6, 37, 50), np.uint8))
    assert found.shape == (6, 37, 50, 2)
    masks = jax.eval_shape(how.predict, variables, np.zeros((6, 37, 50), np.uint8))
    assert masks.mask.shape == (6, 37, 50)
    assert masks.points is None
    np.testing.assert_array_equal(how.flow(variables, np.ones((1, 8, 8))), 0)


@pytest.fixture(scope="module")
def learned(how):
    """Variables after 60 steps on two moving squares, and the metrics of each step."""
    clips = np.concatenate(
        [moving_square((12, 14), (1.0, 0.5)), moving_square((18, 16), (-1.0, 0.7))]
    )
    covers = np.full(2 * CLIP, labels.MYOCARDIUM, np.int8)
    batch = {"image": clips, "mask": np.float32(clips > 0.5), "covers": covers}
    optimizer = optax.adam(0.01)

    def step(state, batch):
        variables, memory = state

        def objective(params):
            return how.loss(variables | {"params": params}, batch, jax.random.key(0))

        grads, (metrics, batch_stats) = jax.grad(objective, has_aux=True)(variables["params"])
        updates, memory = optimizer.update(grads, memory)
        params = optax.apply_updates(variables["params"], updates)
        sizes = {"gradient": _size(grads), "wall_gradient": _size(grads["wall"])}
        return ({"params": params, "batch_stats": batch_stats}, memory), metrics | sizes

    variables = jax.jit(how.init)(jax.random.key(0))
    state, history = (variables, optimizer.init(variables["params"])), []
    step = under_axis(step)
    unlabelled = step(state, batch | {"covers": np.zeros(2 * CLIP, np.int8)})[1]
    still = step(state, batch | {"image": np.zeros_like(clips)})[1]
    for _ in range(60):
        state, metrics = step(state, batch)
        history.append(metrics)
    return SimpleNamespace(
        clips=clips.reshape(2, CLIP, SIZE, SIZE),
        variables=state[0],
        history={k: np.array([h[k] for h in history]) for k in history[0]},
        unlabelled=unlabelled,
        still=still,
    )


def test_a_few_steps_reduce_every_part_that_is_learned(learned):
    history = learned.history
    assert all(np.isfinite(values).all() for values in history.values())
    total = history["warping_loss"] + 0.001 * history["smoothness_loss"]
    total = total + 0.01 * history["segmentation_loss"]
    np.testing.assert_allclose(history["loss"], total, rtol=1e-5)
    assert history["warping_loss"][-1] < 0.1 * history["warping_loss"][0]
    assert history["segmentation_loss"][-1] < 0.7 * history["segmentation_loss"][0]


def test_frames_without_a_label_teach_the_flow_alone(learned):
    assert float(learned.unlabelled["segmentation_loss"]) == 0
    assert float(learned.unlabelled["wall_gradient"]) == 0
    first = float(learned.history["warping_loss"][0])
    assert float(learned.unlabelled["warping_loss"]) == pytest.approx(first)
    assert float(learned.unlabelled["gradient"]) > 0


def test_images_that_show_nothing_have_a_finite_gradient(learned):
    assert float(learned.still["warping_loss"]) == 0
    assert np.isfinite(float(learned.still["gradient"]))


def test_the_flow_of_moving_squares(how, learned):
    """Within a pixel, where each square is in the first frame."""
    flow = jax.jit(how.flow)
    for clip, speed in zip(learned.clips, ((1.0, 0.5), (-1.0, 0.7)), strict=True):
        found = np.asarray(flow(learned.variables, clip))
        np.testing.assert_array_equal(found[0], 0)
        mean = found[:, clip[0] > 0.9].mean(axis=1)
        np.testing.assert_allclose(mean, np.arange(CLIP)[:, None] * speed, atol=1.0)
        assert (np.sign(mean[1:]) == np.sign(speed)).all()


def test_each_image_is_segmented_by_itself(how, learned):
    images = learned.clips.reshape(-1, SIZE, SIZE)
    predict = jax.jit(how.predict)
    whole = predict(learned.variables, images).mask
    turned = predict(learned.variables, images[::-1]).mask[::-1]
    np.testing.assert_allclose(whole, turned, atol=1e-5)


def test_clips_are_successive_frames_of_one_cine(cines):
    clips = dataset.load(cines).clips("train", CLIP)
    np.testing.assert_array_equal(clips, [following(row) for row in range(16)])
    validation = dataset.load(cines).clips("val", 2)
    np.testing.assert_array_equal(validation, [[16, 17], [17, 18], [18, 19], [19, 16]])


def test_without_image_files_a_patient_is_a_cine(small_data):
    """Patients of one image each: the same frame, over and over."""
    clips = dataset.load(small_data).clips("train", 3)
    np.testing.assert_array_equal(clips, np.arange(16)[:, None].repeat(3, 1))


def test_an_epoch_of_clips_has_as_many_images_as_one_without(cines):
    data = dataset.load(cines)
    clips = data.clips("train", CLIP)
    first, again, second = (
        dataset.epoch_order(clips, 8, seed=3, epoch=epoch) for epoch in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()
    assert first.shape == dataset.epoch_order(data.rows("train"), 8, seed=3, epoch=0).shape
    starts = first.reshape(-1, CLIP)[:, 0]
    assert len(set(starts)) == len(starts)
    np.testing.assert_array_equal(first.reshape(-1, CLIP), [following(row) for row in starts])
    short = dataset.epoch_order(clips[:3], 32, seed=0, epoch=0)
    assert short.shape == (1, 32)
    assert set(short.ravel()[::CLIP]) <= {0, 1, 2}


def test_every_case_is_drawn_about_as_often(cines):
    clips = dataset.load(cines).clips("train", CLIP)
    drawn = [dataset.epoch_order(clips, 8, seed=0, epoch=epoch) for epoch in range(400)]
    counts = np.bincount(np.concatenate(drawn).ravel(), minlength=16)
    assert counts.sum() == 400 * 16
    assert np.abs(counts - 400).max() < 80


def test_single_images_are_ordered_as_ever():
    rows = np.arange(100, 125)
    expected = np.random.default_rng([5, 2]).permutation(rows)[:20].reshape(2, 10)
    for cases in (rows, rows[:, None]):
        found = dataset.epoch_order(cases, 10, seed=5, epoch=2)
        np.testing.assert_array_equal(found, expected)


def likeness(variables, batch, key):
    """A loss whose metrics tell how alike the frames of a clip are."""
    total, (_, stats) = toy.method().loss(variables, batch, key)
    clips = batch["image"].reshape(-1, CLIP, SIZE, SIZE)
    within = jnp.max(jnp.abs(clips - clips[:, :1]))
    between = jnp.max(jnp.abs(clips[0] - clips[1]))
    return total, ({"loss": total, "within": within, "between": between}, stats)


@pytest.mark.parametrize(("clip", "alike"), [(CLIP, True), (1, False)])
def test_a_clip_is_augmented_alike(small_data, clip, alike):
    data = dataset.load(small_data)
    (batch,) = dataset.batches(data, np.full((1, 8), 3))  # the same case, eight times
    batch |= {"place": np.arange(8), "point_weight": 1.0, "mask_weight": 1.0}
    settings = Config(augment=Augmentation(rotation_degrees=20.0, contrast=0.2))
    step, state = descent(settings, toy.method()._replace(loss=likeness, clip=clip))
    run = under_axis(step)
    _, metrics = run(state, batch)
    assert (float(metrics["within"]) == 0) == alike
    assert float(metrics["between"]) > 0.1
    _, later = run(state.replace(step=jnp.ones((), jnp.int32)), batch)
    assert later["between"] != metrics["between"]  # every step has changes of its own


def test_a_stopped_run_of_clips_continues_bit_for_bit(cines, tmp_path, monkeypatch):
    """Stopped in the middle of the first epoch."""
    toy.install(monkeypatch, clip=CLIP)
    options = toy.config(cines, batch_size=CLIP, epochs=2)
    loop.train(options, tmp_path / "whole")
    with pytest.raises(loop.Stopped, match="after step 3"):
        loop.train(options, tmp_path / "run", on_step=stop_at(1))
    loop.train(options, tmp_path / "run")
    assert_same(tmp_path / "whole", tmp_path / "run")


def test_a_batch_must_be_made_of_whole_clips(cines, tmp_path):
    with pytest.raises(ValueError, match=r"batch_size 8 .* clips of 3 frames .*clip_frames"):
        loop.train(settings(cines, clip_frames=3), tmp_path / "run")
    with pytest.raises(ValueError, match="clip_frames: 1, expected greater than 1"):
        config.validate(settings(cines, clip_frames=1))


def test_points_of_the_largest_piece_of_a_mask():
    mask = Horseshoe().mask().astype(np.float32)
    alone = tracked.points_of_mask(mask, 20)
    assert alone.shape == (20, 2)
    spotted = mask.copy()
    spotted[1:4, 1:4] = 0.9
    np.testing.assert_array_equal(tracked.points_of_mask(spotted, 20), alone)
    inside = np.linalg.norm(alone - alone.mean(0), axis=1)
    assert inside[:10].mean() < inside[10:].mean()  # the inner boundary first


def test_a_mask_without_two_ends_has_no_points():
    disc = np.hypot(*np.mgrid[-20:20, -20:20]) < 12
    ring = disc & ~ndimage.binary_erosion(disc, iterations=4)
    for mask in (np.zeros((40, 40)), disc, ring, np.full((40, 40), np.nan)):
        found = tracked.points_of_mask(np.float32(mask), 8)
        assert found.shape == (8, 2)
        assert np.isnan(found).all()


def test_points_follow_the_flow():
    wall = Horseshoe().mask().astype(np.float32)
    shifts = jnp.arange(3.0)[:, None, None, None] * jnp.array([1.5, -0.5])

    def flow(variables, cine):
        return jnp.broadcast_to(shifts, (*cine.shape, 2))

    def predict(variables, images):
        return tracking.segmenter.Segmentation(images)

    how = Method(lambda key: {}, lambda *_: None, predict, flow=flow)
    found = tracked.follow(how, {}, np.stack([255 * wall] * 3), num_points=12)
    first = tracked.points_of_mask(wall, 12)
    np.testing.assert_allclose(found, first + np.asarray(shifts[:, 0]), atol=1e-4)
    assert np.isnan(tracked.follow(how, {}, np.zeros_like(np.stack([wall] * 3)))).all()
    with pytest.raises(ValueError, match="has no flow"):
        tracked.follow(how._replace(flow=None), {}, wall[None])
