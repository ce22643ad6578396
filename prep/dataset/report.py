"""The report on a data set: one HTML page with its pictures beside it and inside it."""

import base64
import html
import io
from collections import Counter
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

from jssm import dataset
from jssm.shape import order

matplotlib.use("Agg")

from matplotlib.figure import Figure

from jssm.shape import shape_model
from jssm.shape.integrity import integrity
from jssm.shape.shape_model import ShapeModel
from prep.dataset import store
from prep.shapes.point_cloud import loops

INNER, OUTER = "#1f9bd1", "#e4572e"
PAGE = """<!doctype html>
<meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }}
img {{ max-width: 100% }} table {{ border-collapse: collapse }}
td, th {{ text-align: left; padding: .15rem .8rem .15rem 0; border-bottom: 1px solid #ddd }}
</style>
<h1>{title}</h1>
{body}
"""


def write(directory: Path) -> Path:
    """Write ``report/report.html`` and its PNGs for the data set in ``directory``."""
    folder = directory / "report"
    folder.mkdir(exist_ok=True)
    meta = dataset.read_meta(directory)
    rows = store.read_table(directory)
    included = sorted((r for r in rows if r["row"]), key=lambda r: int(r["row"]))
    shape = shape_model.load(directory / "shape_model.npz")
    variances = np.asarray(shape.variances, np.float64)
    canonical = np.load(directory / "canonical_points.npy").astype(np.float64)
    whole = np.isfinite(canonical).all(axis=(1, 2))
    training = canonical[whole & [r["split"] == "train" for r in included]]
    total = float(training.var(axis=0, ddof=1).sum())
    scores = [float(r["point_mask_dice"]) for r in rows if r["point_mask_dice"]]
    figures = {
        "mean_shape": ("The mean shape, its points numbered", _mean_shape(shape)),
        "modes": ("The first modes at −3√λ and +3√λ", _modes(shape, variances)),
        "explained_variance": ("Explained variance", _explained(variances, total)),
        "dice": ("Dice of the points' polygon against the mask", _histogram(scores, meta)),
        "contact_sheet": ("Cases drawn at random", _contact_sheet(directory, included, meta)),
    }
    body = [_summary(meta, shape, rows, included)]
    for name, (caption, figure) in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=90, metadata={"Software": None})
        (folder / f"{name}.png").write_bytes(buffer.getvalue())
        code = base64.b64encode(buffer.getvalue()).decode()
        body.append(f'<h2>{caption}</h2><img alt="{caption}" src="data:image/png;base64,{code}">')
    body.append(_excluded(rows))
    page = folder / "report.html"
    title = html.escape(f"Data set: {meta['view']}, {meta['source']}")
    page.write_text(PAGE.format(title=title, body="\n".join(body)), encoding="utf-8")
    return page


def _summary(meta: dict, shape: ShapeModel, rows: list[dict], included: list[dict]) -> str:
    scores = [float(r["point_mask_dice"]) for r in included if r["point_mask_dice"]]
    facts = {
        "Cases": f"{len(included)} of {len(rows)} included ({len(included) / len(rows):.1%})",
        "Point-mask Dice of these": f"mean {np.mean(scores):.4f}, lowest {np.min(scores):.4f}",
        "Size": f"{meta['size']} × {meta['size']} px, {meta['num_points']} points",
        "Seed": str(meta["seed"]),
        "Random shapes that fold": _folds(shape),
    }
    for part in ("train", "val"):
        patients = {r["patient"] for r in included if r["split"] == part}
        cases = sum(r["split"] == part for r in included)
        facts[part] = f"{cases} cases of {len(patients)} patients"
    for covers, count in Counter(r["covers"] for r in included).items():
        facts[f"Labels of the {covers}"] = str(count)
    return _table(["", ""], [[key, value] for key, value in facts.items()])


def _folds(shape: ShapeModel, count: int = 1000) -> str:
    """How often shapes with random mode weights, within ±3√λ, fail their certificate."""
    rng = np.random.default_rng(0)
    drawn = (count, shape.num_modes)
    weights = {
        "uniform": rng.uniform(-1, 1, drawn),
        "normal, cut off": np.clip(rng.normal(size=drawn) / 3, -1, 1),
    }
    shares = []
    for name, share_of_limit in weights.items():
        folded = 1 - float(_whole_share(shape, jnp.asarray(share_of_limit, jnp.float32)))
        shares.append(f"{folded:.1%} ({name})")
    return f"{', '.join(shares)}; mode weights within ±3√λ"


@jax.jit
def _whole_share(shape: ShapeModel, share_of_limit: jax.Array) -> jax.Array:
    points = jax.vmap(shape.deform)(share_of_limit * shape.limits)
    return jnp.mean(jax.vmap(partial(integrity, closed=shape.closed))(points).ok)


def _excluded(rows: list[dict]) -> str:
    out = [r for r in rows if r["split"] == "excluded"]
    lines = [[r["case"], r["point_mask_dice"], r["reason"]] for r in out]
    if not lines:
        return "<h2>Excluded cases</h2><p>None.</p>"
    return "<h2>Excluded cases</h2>" + _table(["case", "point-mask Dice", "reason"], lines)


def _table(head: list[str], lines: list[list[str]]) -> str:
    def row(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return "<table>" + row(head, "th") + "".join(row(line, "td") for line in lines) + "</table>"


def _outline(points: np.ndarray, closed: bool) -> np.ndarray:
    """The outline (n, 2) as a line to draw, with a gap of NaN between its loops."""
    gap = np.full((1, 2), np.nan)
    lines = [order.line(loop, closed=True) for loop in loops(points, closed=closed)]
    return np.concatenate([part for line in lines for part in (line, gap)][:-1])


def _mean_shape(shape: ShapeModel) -> Figure:
    figure = Figure(figsize=(6, 6.5), layout="constrained")
    axes = figure.add_subplot()
    mean = np.asarray(shape.mean)
    middle = mean.mean(axis=0)
    axes.plot(*_outline(mean, shape.closed).T, color="0.8", lw=1)
    for boundary, colour in zip(order.boundaries(mean), (INNER, OUTER), strict=True):
        axes.plot(*boundary.T, ".", color=colour)
    for i, is_outer in enumerate(order.is_outer(len(mean))):
        colour, push = (OUTER, 0.07) if is_outer else (INNER, -0.07)
        away = mean[i] - middle
        x, y = mean[i] + push * away / max(float(np.linalg.norm(away)), 1e-6)
        axes.text(x, y, str(i), size=6, ha="center", va="center", color=colour)
    _frame(axes)
    return figure


def _modes(shape: ShapeModel, variances: np.ndarray) -> Figure:
    mean, modes = np.asarray(shape.mean), np.asarray(shape.modes)
    count = min(6, len(modes))
    figure = Figure(figsize=(3 * count, 3.8), layout="constrained")
    for k in range(count):
        axes = figure.add_subplot(1, count, k + 1)
        for weight, colour, label in ((-3, INNER, "−3√λ"), (0, "0.4", "mean"), (3, OUTER, "+3√λ")):
            bent = mean + weight * np.sqrt(variances[k]) * modes[k]
            axes.plot(*_outline(bent, shape.closed).T, color=colour, lw=1.2, label=label)
        axes.set_title(f"mode {k + 1}, λ = {variances[k]:.4f}", size=9)
        _frame(axes)
        if k == 0:
            figure.legend(
                *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8
            )
    return figure


def _explained(variances: np.ndarray, total: float) -> Figure:
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    part = np.cumsum(variances) / max(total, 1e-12)
    axes.plot(np.arange(1, len(part) + 1), 100 * part, ".-", color=INNER)
    axes.set_xlabel("modes")
    axes.set_ylabel("% of the training variance")
    axes.grid(alpha=0.3)
    return figure


def _histogram(scores: list[float], meta: dict) -> Figure:
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(scores, bins=np.linspace(min([0.85, *scores]), 1, 41).tolist(), color=INNER)
    axes.axvline(meta["min_dice"], color=OUTER, ls="--")
    axes.set_xlabel("point-mask Dice (dashed: the threshold)")
    axes.set_ylabel("cases")
    return figure


def _contact_sheet(directory: Path, included: list[dict], meta: dict) -> Figure:
    images = dataset.pictures(directory, "images", meta)
    points = np.load(directory / "points.npy", mmap_mode="r")
    count = min(20, len(included))
    drawn = np.random.default_rng(meta["seed"]).choice(len(included), count, replace=False)
    columns = min(5, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(3 * columns, 3.2 * lines), layout="constrained")
    for place, i in enumerate(np.sort(drawn)):
        axes = figure.add_subplot(lines, columns, place + 1)
        axes.imshow(images[i], cmap="gray", vmin=0, vmax=255)
        for boundary, colour in zip(order.boundaries(points[i]), (INNER, OUTER), strict=True):
            axes.plot(*boundary.T, ".", color=colour, ms=2)
        firsts = order.basal_ends(points.shape[1])[:, 0]
        axes.plot(*points[i, firsts].T, "+", color="yellow", ms=6)
        axes.set_title(f"{included[i]['case']} {included[i]['point_mask_dice'][:5]}", size=7)
        axes.axis("off")
    return figure


def _frame(axes) -> None:
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.tick_params(labelsize=6)
