from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.measure import grid_points_in_poly

from jssm import dataset, rasterizer
from jssm.methods import losses, regression
from jssm.shape import labels, order
from tests import reference
from tests.conftest import write_dataset


@pytest.mark.parametrize("num_points", [6, 8, 10, 88])
def test_the_cavity_strip_covers_the_closed_inner_boundary(num_points):
    points = reference.horseshoe(num_points, center=(20, 18), inner=9, outer=13)
    strip = points[order.cavity_strip(num_points)]
    assert strip.shape == points.shape
    covered = reference.soft_mask(strip, (40, 40), 0.5) > 0.5
    inside = grid_points_in_poly((40, 40), points[: num_points // 2, ::-1])
    assert np.count_nonzero(covered != inside) <= 2  # pixels on the outline itself
    assert np.count_nonzero(inside) > 50


def test_a_bent_cavity_is_covered_too():
    along = np.linspace(0, 1, 20)[:, None]
    axis = np.concatenate([30 * along + 5.3, 12.3 + 40 * (along - 0.5) ** 2], axis=1)
    side = np.array([0, 1]) * 4
    inner = np.concatenate([(axis + side), (axis - side)[::-1]])[::-1]
    points = np.concatenate([inner, np.full_like(inner, np.nan)])
    strip = jnp.asarray(points[order.cavity_strip(80)])
    covered = np.asarray(rasterizer.rasterize(strip, (40, 40))) > 0.5
    inside = grid_points_in_poly((40, 40), inner[:, ::-1])
    assert reference.dice(covered, inside) > 0.98


def test_the_cavity_strip_has_finite_gradients():
    points = jnp.asarray(reference.horseshoe(16, center=(16, 16), inner=6, outer=9))

    def area(p):
        return jnp.sum(rasterizer.rasterize(labels.covered_strip(p, jnp.int8(1)), (32, 32)))

    gradient = np.asarray(jax.jit(jax.grad(area))(points))
    assert np.isfinite(gradient).all()
    assert (gradient[8:] == 0).all()  # the outer points do not matter
    assert (np.abs(gradient[:8]).max(axis=1) > 0).all()


def test_a_strip_is_chosen_by_what_the_label_covers():
    points = jnp.asarray(reference.horseshoe(8))
    for covers in (labels.NONE, labels.MYOCARDIUM):
        np.testing.assert_array_equal(labels.covered_strip(points, covers), points)
    expected = points[order.cavity_strip(8)]
    np.testing.assert_array_equal(labels.covered_strip(points, labels.CAVITY), expected)


@pytest.fixture(scope="module")
def batch():
    """Three cases of 32×32: a whole wall, a cavity, and an image without a label."""
    points = np.stack(
        [reference.horseshoe(8, center=(16, 15), inner=r, outer=r + 4) for r in (5, 6, 7)]
    )
    strips = np.stack([points[0], points[1][order.cavity_strip(8)]])
    masks = [reference.rasterize(strip, (32, 32), 0.5) > 0.5 for strip in strips]
    known = points.copy()
    known[1, 4:] = np.nan
    known[2] = np.nan
    return {
        "image": np.random.default_rng(0).uniform(size=(3, 32, 32)).astype(np.float32),
        "mask": np.stack([*masks, np.zeros((32, 32))]).astype(np.float32),
        "points": known.astype(np.float32),
        "covers": np.array([labels.MYOCARDIUM, labels.CAVITY, labels.NONE], np.int8),
        "point_weight": np.float32(1),
        "mask_weight": np.float32(0.5),
    }


@pytest.fixture(scope="module")
def loss_and_gradient(small_model):
    """A jitted function of a batch: the metrics, and the gradient by the parameters."""

    def objective(params, batch):
        variables = small_model.variables | {"params": params}
        return regression.loss(small_model.replace(variables=variables), batch)

    compiled = jax.jit(jax.grad(objective, has_aux=True))

    def run(batch):
        gradient, (metrics, _) = compiled(small_model.variables["params"], batch)
        return {k: float(v) for k, v in metrics.items()}, jax.tree.leaves(gradient)

    return run


def test_each_label_teaches_what_it_covers(small_model, batch, loss_and_gradient):
    metrics, gradient = loss_and_gradient(batch)
    assert all(np.isfinite(leaf).all() for leaf in gradient)
    apply = jax.jit(partial(small_model.network.apply, train=True, mutable=["batch_stats"]))
    training = apply(small_model.variables, batch["image"], small_model.mean_theta)[0][-1]
    points = jax.vmap(regression.decode, (None, 0))(small_model.shape, training)[2]
    of_wall = reference.point_rmse(points[0], batch["points"][0])
    of_inner = reference.point_rmse(points[1][:4], batch["points"][1][:4])
    assert metrics["points_loss"] == pytest.approx((of_wall + of_inner) / 2 / 16, rel=1e-4)
    strips = [points[0], points[1][order.cavity_strip(8)]]
    dices = [
        1 - reference.dice(reference.rasterize(strip, (32, 32), 0.5), mask)
        for strip, mask in zip(strips, batch["mask"], strict=False)
    ]
    assert metrics["mask_loss"] == pytest.approx(np.mean(dices), rel=1e-3)
    assert metrics["loss"] == pytest.approx(
        metrics["points_loss"] + 0.5 * metrics["mask_loss"], rel=1e-5
    )


def test_a_batch_without_labels_gives_no_loss_and_no_gradient(batch, loss_and_gradient):
    nothing = {"covers": np.zeros(3, np.int8), "points": np.full((3, 8, 2), np.nan, np.float32)}
    metrics, gradient = loss_and_gradient(batch | nothing)
    assert metrics["loss"] == 0
    assert all((np.asarray(leaf) == 0).all() for leaf in gradient)


def test_unknown_points_do_not_count():
    rng = np.random.default_rng(0)
    predicted, true = rng.normal(size=(2, 9, 2))
    true[4:] = np.nan
    value, gradient = jax.value_and_grad(losses.point_rmse)(jnp.asarray(predicted), true)
    assert float(value) == pytest.approx(reference.point_rmse(predicted[:4], true[:4]), rel=1e-6)
    assert (gradient[4:] == 0).all()
    assert np.isfinite(gradient).all()
    true[:] = np.nan
    value, gradient = jax.value_and_grad(losses.point_rmse)(jnp.asarray(predicted), true)
    assert float(value) == 0
    assert (gradient == 0).all()


def test_the_mean_is_over_what_counts():
    values = jnp.array([1.0, 2.0, 6.0])
    assert float(losses.mean_over(values, jnp.array([True, False, True]))) == pytest.approx(3.5)
    assert float(losses.mean_over(values, jnp.zeros(3, bool))) == 0


def test_old_data_sets_cover_the_wall_and_unknown_labels_are_refused(tmp_path):
    directory = write_dataset(tmp_path / "data")
    assert set(dataset.load(directory).covers) == {labels.MYOCARDIUM}
    path = directory / "cases.csv"
    lines = path.read_text().splitlines()
    kinds = ["covers", "cavity", "none", *["myocardium"] * 18]
    path.write_text("\n".join(f"{a},{b}" for a, b in zip(lines, kinds, strict=True)))
    data = dataset.load(directory)
    assert data.covers.tolist() == [labels.CAVITY, labels.NONE] + [labels.MYOCARDIUM] * 18
    np.testing.assert_allclose(data.mean_theta(), data.thetas[2:16].mean(0), rtol=1e-6)
    (batch,) = dataset.batches(data, np.array([[1, 0, 7]]))
    assert batch["covers"].tolist() == [labels.NONE, labels.CAVITY, labels.MYOCARDIUM]
    path.write_text(path.read_text().replace(",none", ",atrium"))
    with pytest.raises(ValueError, match=r"cases\.csv: covers is 'atrium', expected one of none"):
        dataset.load(directory)
