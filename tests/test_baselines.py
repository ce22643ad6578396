"""The baselines: their sizes, their losses, and one of them in evaluation."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates

import jssm
from jssm import checkpoint, config, dataset
from jssm.config import Augmentation, BaselineConfig, Config, ModelConfig, TrainConfig
from jssm.evaluation import report
from jssm.methods import losses, registry
from jssm.methods.baselines import contour, fcn8s, pixelwise, segmenter, tetris
from jssm.methods.method import mean_dice
from jssm.shape import affine, labels
from jssm.training import feed, loop, validation
from tests import toy
from tests.conftest import SIZE, random_weights, write_dataset
from tests.runs import records

rng = np.random.default_rng(0)


def tiny(data, method="unet", **baseline) -> Config:
    """The settings of a small network."""
    return Config(
        data=str(data),
        method=method,
        model=ModelConfig(size=SIZE, depth=18, width=2),
        baseline=BaselineConfig(**baseline),
        train=TrainConfig(batch_size=8, epochs=2, learning_rate=0.01),
        augment=Augmentation(flip_left_right=True, rotation_degrees=10.0),
    )


def parameters(network, size) -> int:
    images = jnp.zeros((1, size, size, 1))
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), images, train=False))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes["params"]))


def batch_of(data, covers):
    """The first cases, with these codes of what their labels cover."""
    (batch,) = dataset.batches(data, np.arange(len(covers))[None])
    return {
        "image": batch["image"] / np.float32(255),
        "mask": batch["mask"].astype(np.float32),
        "covers": np.array(covers, np.int8),
        "epoch": np.float32(0),
    }


@pytest.fixture(scope="module")
def data(small_data):
    return dataset.load(small_data)


@pytest.fixture(scope="module")
def untrained(data, small_data, tmp_path_factory):
    """The run directory of a U-Net of random weights, and their validation Dice in training."""
    run, settings = tmp_path_factory.mktemp("runs") / "untrained", tiny(small_data)
    run.mkdir()
    method = registry.method_from(settings, {})
    variables = random_weights(lambda: method.init(jax.random.key(0)))
    (run / "config.json").write_text(config.to_json(settings))
    with checkpoint.Checkpoints(run) as files:
        files.save_best(1, {"variables": variables})
    source = feed.Feed(data, jax.devices()[:1])
    means = validation.Validation(method, data, source, batch_size=8).scores(variables)
    return run, means["dice"]


def test_every_method_has_a_name_for_the_settings():
    assert set(registry.METHODS) == set(config.METHODS)


def test_the_u_net_has_the_published_size():
    assert parameters(pixelwise.network_from(Config()), 32) == pytest.approx(31.0e6, rel=0.01)


def test_fcn8s_has_the_published_size():
    """VGG16 without its last layer (134,260,544), grey images and batch normalization for biases;
    three places are scored, and two of the three widenings are learned."""
    vgg, grey, norms = 134_260_544, -2 * 9 * 64, 4224 + 2 * 4096
    scores, widening = (4096 + 1) + (512 + 1) + (256 + 1), 16 + 16
    assert parameters(fcn8s.network_from(Config()), 32) == vgg + grey + norms + scores + widening


def test_a_run_without_points_has_scores_and_pictures_of_masks(small_data, tmp_path, monkeypatch):
    toy.install(monkeypatch, learns_points=False, scores=None, merit=mean_dice)
    loop.train(toy.config(small_data, epochs=2, batch_size=8), tmp_path)
    losses = {"train_loss", "train_points_loss", "train_mask_loss"}
    assert [set(record) for record in records(tmp_path)] == [
        {"epoch", "step", "val_dice", "images_per_second"} | losses
    ] * 2
    assert (tmp_path / "overlays" / "epoch_0002.png").is_file()


def test_a_baseline_is_evaluated_like_any_method(untrained):
    run, dice = untrained
    assert "| untrained " in report.evaluate_run(str(run), "")
    scores = json.loads((run / "eval" / "metrics.json").read_text())
    assert 0.01 < dice < 0.99
    assert scores["dice"]["mean"] == pytest.approx(dice, abs=1e-3)
    assert scores["point_rmse_px"] is None
    assert scores["folded_share"] is None


def test_a_baseline_is_no_model(untrained):
    with pytest.raises(ValueError, match=r"holds the method unet, which has no shape model"):
        jssm.load(untrained[0])


def test_a_baseline_needs_whole_walls(tmp_path):
    directory = write_dataset(tmp_path / "data")
    table = (directory / "cases.csv").read_text().splitlines()
    kinds = ["covers", *["myocardium"] * 16, *["cavity"] * 4]
    lines = [f"{line},{kind}" for line, kind in zip(table, kinds, strict=True)]
    (directory / "cases.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"method unet needs cases .* the split val has none"):
        loop.train(tiny(directory), tmp_path / "run")


@pytest.mark.parametrize("method", ["contour", "fcn8s", "tetris"])
def test_only_whole_walls_count_and_gradients_are_finite(method, data):
    """A batch of whole walls and others has the loss of its walls; one without any has none. (The
    U-Net's network is Contour's.)

    The network computes in bfloat16, its gradients and statistics are float32 all the same.
    """
    settings = tiny("x", method)
    settings.model.bfloat16 = True
    how = registry.method_from(settings, registry.constants_of(settings, data))
    variables = random_weights(lambda: how.init(jax.random.key(0)))

    @jax.jit
    def objective(params, batch):
        def loss(params, batch):
            total, (_, after) = how.loss(variables | {"params": params}, batch, jax.random.key(0))
            return total, after

        split = {k: v if np.ndim(v) == 0 else v[None] for k, v in batch.items()}
        axes = {k: None if np.ndim(v) == 0 else 0 for k, v in batch.items()}
        gradient = jax.value_and_grad(loss, has_aux=True)
        return jax.vmap(gradient, (None, axes), axis_name="batch")(params, split)

    batch = batch_of(data, [labels.MYOCARDIUM, labels.NONE, labels.CAVITY, labels.MYOCARDIUM])
    spoilt = batch | {"mask": batch["mask"] * (batch["covers"] == labels.MYOCARDIUM)[:, None, None]}
    losses = []
    for one in (batch, spoilt, batch | {"covers": np.zeros(4, np.int8)}):
        (loss, after), gradient = objective(variables["params"], one)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
        assert {leaf.dtype.name for leaf in jax.tree.leaves((after, gradient))} == {"float32"}
        losses.append(float(loss[0]))
    assert losses[0] == losses[1] > 0
    assert losses[2] == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))
    found = jax.eval_shape(how.predict, variables, np.zeros((3, SIZE, SIZE), np.uint8))
    assert found.mask.shape == (3, SIZE, SIZE)
    assert found.points is None


def test_cross_entropy_and_dice_of_the_u_net():
    logits, true = (
        rng.normal(size=(6, 5)).astype(np.float32),
        rng.integers(0, 2, (6, 5)).astype(np.float32),
    )
    chance = 1 / (1 + np.exp(-logits))
    entropy = -np.mean(true * np.log(chance) + (1 - true) * np.log(1 - chance))
    dice = 1 - 2 * (chance * true).sum() / (chance.sum() + true.sum())
    found = [
        float(jax.jit(partial(pixelwise.case_loss, kind=kind))(logits, true, 0))
        for kind in ("cross_entropy", "dice")
    ]
    assert found == pytest.approx([entropy, dice], rel=1e-5)
    far = jax.jit(jax.grad(segmenter.cross_entropy))(
        jnp.array([[1e4, -1e4]]), jnp.array([[0.0, 1.0]])
    )
    np.testing.assert_allclose(far, [[0.5, -0.5]])


@pytest.mark.parametrize("factor", [2, 8])
def test_widening_is_bilinear_interpolation(factor):
    """A linear image is reproduced exactly, but for the margin where it would be extrapolated."""
    x, y = np.meshgrid(np.arange(6), np.arange(5))
    plane = (2.0 * x - 3.0 * y + 1.0).astype(np.float32)[None, ..., None]
    found = fcn8s.widen(plane, jnp.asarray(fcn8s.bilinear(factor)), factor)
    assert found.shape == (1, 5 * factor, 6 * factor, 1)
    x, y = ((np.arange(n * factor) + 0.5) / factor - 0.5 for n in (6, 5))
    expected = 2 * x[None] - 3 * y[:, None] + 1
    inner = slice(factor, -factor)
    np.testing.assert_allclose(found[0, inner, inner, 0], expected[inner, inner], atol=1e-5)
    learned, _ = fcn8s.UpScore(factor).init_with_output(jax.random.key(0), plane)
    np.testing.assert_array_equal(learned, found)


def test_scores_of_zero_keep_nothing_from_learning():
    """At the first step only the scores of FCN-8s have a gradient, at the second everything has."""
    network = fcn8s.FCN8s(2)
    images, true = rng.normal(size=(4, 64, 64, 1)), rng.integers(0, 2, (4, 64, 64))
    scores = ("Conv_0", "Conv_1", "Conv_2")

    def start():
        return network.init(jax.random.key(0), images, train=False)

    variables = random_weights(start)
    variables["params"] |= jax.jit(lambda: {name: start()["params"][name] for name in scores})()

    @jax.jit
    def gradient(params):
        def loss(params):
            logits, _ = network.apply(
                variables | {"params": params}, images, train=True, mutable=["batch_stats"]
            )
            return segmenter.cross_entropy(logits, true)

        return jax.grad(loss)(params)

    params = variables["params"]
    first = gradient(params)
    moved = {name for name, leaves in first.items() if any(map(np.any, jax.tree.leaves(leaves)))}
    assert moved == {*scores}
    second = gradient(jax.tree.map(lambda p, g: p - g, params, first))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(second))


def test_logits_of_fcn8s_have_the_size_of_the_images():
    network = fcn8s.FCN8s(2)
    images = jnp.zeros((2, 37, 50, 1))
    logits, _ = jax.eval_shape(
        lambda: network.init_with_output(jax.random.key(0), images, train=False)
    )
    assert logits.shape == (2, 37, 50)


def test_the_length_of_a_square_is_its_perimeter():
    """The two differences meet at one corner only, where they make one diagonal step."""
    mask = np.zeros((20, 30), np.float32)
    mask[5:12, 8:15] = 1
    perimeter = 4 * 7 - 2 + np.sqrt(2)
    flat = 19 * 29 * np.sqrt(contour.EPSILON)
    assert float(contour.length(mask)) * 19 * 29 == pytest.approx(perimeter + flat, rel=2e-3)


def slow_contour_loss(u, v, length_epsilon, region_weight, inside_weight):
    height, width = u.shape
    steps = [
        np.sqrt((u[i, j + 1] - u[i, j]) ** 2 + (u[i + 1, j] - u[i, j]) ** 2 + length_epsilon)
        for i in range(height - 1)
        for j in range(width - 1)
    ]
    too_much = [u[i, j] * (v[i, j] - 1) ** 2 for i in range(height) for j in range(width)]
    lacking = [(1 - u[i, j]) * v[i, j] ** 2 for i in range(height) for j in range(width)]
    area = inside_weight * np.mean(too_much) + np.mean(lacking)
    return np.mean(steps) + region_weight * area


def test_the_contour_loss_against_its_definition():
    options = BaselineConfig(region_weight=3.0, inside_weight=0.7)
    u, v = rng.uniform(size=(7, 9)), rng.integers(0, 2, (7, 9)).astype(np.float64)
    loss = partial(contour.contour_loss, options=options)
    found = jax.jit(loss)(u, v)
    expected = slow_contour_loss(u, v, contour.EPSILON, 3.0, 0.7)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(jax.jit(jax.grad(loss))(np.ones((7, 9)), v)).all()


def test_contour_begins_with_cross_entropy():
    options = BaselineConfig(pretrain_epochs=2)
    logits, true = rng.normal(size=(6, 5)).astype(np.float32), np.ones((6, 5), np.float32)
    loss = jax.jit(partial(contour.case_loss, options=options))
    found = [float(loss(logits, true, epoch)) for epoch in range(4)]
    entropy = float(jax.jit(segmenter.cross_entropy)(logits, true))
    chance = 1 / (1 + np.exp(-logits))
    later = float(jax.jit(partial(contour.contour_loss, options=options))(chance, true))
    assert found == pytest.approx([entropy, entropy, later, later])


def test_the_free_form_field_against_scipy():
    """Inside, the tensor product of scipy's cubic B-splines with knots at the cells' middles."""
    grid_px, cells = 4, 6
    controls = rng.normal(size=(cells, cells, 2))
    found = jax.jit(tetris.free_form, static_argnums=1)(controls, grid_px)
    assert found.shape == (cells * grid_px, cells * grid_px, 2)
    padded = np.pad(controls, ((2, 2), (2, 2), (0, 0)), mode="edge")
    knots = np.arange(-4.0, cells + 4)  # the k-th of degree 3 is centred on the knot k + 2
    place = (np.arange(cells * grid_px) + 0.5) / grid_px - 0.5
    down = BSpline(knots, padded, 3)(place)
    expected = np.swapaxes(BSpline(knots, np.swapaxes(down, 0, 1), 3)(place), 0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_equal_control_points_move_every_pixel_as_much():
    field = tetris.free_form(jnp.broadcast_to(jnp.array([3.0, -2.0]), (2, 4, 2)), 8)
    np.testing.assert_allclose(field, np.broadcast_to([3.0, -2.0], (16, 32, 2)), atol=1e-5)
    assert float(tetris.roughness(field)) == pytest.approx(0, abs=1e-9)


def test_the_identity_gives_the_mean_mask_and_a_shift_moves_it():
    template = rng.uniform(size=(8, 8)).astype(np.float32)
    still = tetris.about_center(jnp.zeros((2, 3)), template.shape)
    nothing = tetris.free_form(jnp.zeros((2, 2, 2)), 4)
    np.testing.assert_allclose(tetris.transform(template, still, nothing), template, atol=1e-6)
    by_field = tetris.transform(template, still, nothing + jnp.array([2.0, 0.0]))
    half = jnp.zeros((2, 3)).at[0, 2].set(0.5)  # of four pixels, half an image
    by_affine = tetris.transform(template, tetris.about_center(half, template.shape), nothing)
    for moved in (by_field, by_affine):
        np.testing.assert_allclose(moved[:, :-2], template[:, 2:], atol=1e-5)
        np.testing.assert_array_equal(moved[:, -2:], 0)


def test_a_template_off_the_heart_has_no_gradient_so_the_affine_head_moves_it_slowly():
    """A number of 1 moves it by a tenth of half an image; where nothing overlaps it stays."""
    template = np.zeros((SIZE, SIZE), np.float32)
    template[8:16, 12:20] = 1
    network = tetris.Transformer(16, 18, 2, jnp.float32)
    images = jnp.zeros((1, SIZE, SIZE, 1))
    variables = jax.eval_shape(
        lambda: network.init(jax.random.key(0), images, template, train=False)
    )
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), variables)
    variables["params"]["affine"]["Dense_2"]["bias"][2] = 1
    found = jax.jit(partial(network.apply, train=False))(variables, images, template)
    shift = np.array([[1, 0, 0.1 * SIZE / 2], [0, 1, 0]], np.float32)
    np.testing.assert_allclose(
        found.mask[0], affine.resample(template, shift, template.shape), atol=1e-5
    )
    away = jnp.zeros((2, 3)).at[0, 2].set(0.7)

    def loss(numbers):
        theta = tetris.about_center(numbers, template.shape)
        nothing = jnp.zeros((SIZE, SIZE, 2))
        return losses.dice_loss(tetris.transform(template, theta, nothing), template)

    value, gradient = jax.jit(jax.value_and_grad(loss))(away)
    assert float(value) == 1
    assert not np.any(gradient)


def test_roughness_is_the_mean_squared_derivative():
    columns, rows = np.meshgrid(np.arange(6.0), np.arange(5.0))
    field = np.stack([0.5 * columns, 0.2 * rows], axis=-1)
    assert float(tetris.roughness(field)) == pytest.approx((0.5**2 + 0.2**2) / 2, rel=1e-5)


def test_the_mean_mask_is_that_of_aligned_hearts(data):
    rows = data.rows("train")
    mean_theta = tetris.mean_place(data.thetas[rows]).astype(np.float64)
    y, x = np.mgrid[:SIZE, :SIZE]
    canonical = (np.stack([x, y], -1) - mean_theta[:, 2]) @ np.linalg.inv(mean_theta[:, :2]).T
    total = np.zeros((SIZE, SIZE))
    for mask, theta in zip(data.masks[rows], data.thetas[rows].astype(np.float64), strict=True):
        place = canonical @ theta[:, :2].T + theta[:, 2]
        total += map_coordinates(mask.astype(float), [place[..., 1], place[..., 0]], order=1)
    np.testing.assert_allclose(tetris.mean_mask(data), total / len(rows), atol=1e-4)


def test_the_mean_place_keeps_the_size_of_turned_hearts():
    """Hearts of one size turned by −80°, 0 and 80°: the mean of their maps is less than half."""
    turned = [
        [[5 * np.cos(a), -5 * np.sin(a), 10 + a], [5 * np.sin(a), 5 * np.cos(a), 20 - a]]
        for a in np.radians([-80, 0, 80])
    ]
    found = tetris.mean_place(np.array(turned))
    np.testing.assert_allclose(found, [[5, 0, 10], [0, 5, 20]], atol=1e-5)
    assert np.linalg.det(np.mean(turned, 0)[:, :2]) < 25 / 4


def test_tetris_needs_whole_cells(small_data, tmp_path):
    with pytest.raises(ValueError, match="grid_px: 64 does not divide the images' side 32"):
        loop.train(tiny(small_data, "tetris", grid_px=64), tmp_path / "run")
