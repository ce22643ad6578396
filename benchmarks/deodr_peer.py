"""Strips drawn by DEODR (de La Gorce et al., "Model-based 3D hand pose estimation from monocular
video", 2011): C++, one thread, visits only the pixels near an edge."""

from collections import Counter

import numpy as np
from deodr.differentiable_renderer import Scene2D

from jssm.shape.order import strip_triangles

SIGMA = 1.0  # px, DEODR's own default for how far an edge is smoothed


def scene(points: np.ndarray, shape: tuple[int, int]) -> Scene2D:
    """The strip (T, 2) as a white object before black, its outline smoothed."""
    points = np.array(points, np.float64)
    faces = _of_one_winding(points, strip_triangles(len(points)))
    sides = [[frozenset((int(f[i]), int(f[(i + 1) % 3]))) for i in range(3)] for f in faces]
    count = Counter(side for face in sides for side in face)
    num_points, num_faces = len(points), len(faces)
    return Scene2D(
        faces=faces,
        faces_uv=faces,
        ij=points,
        depths=np.ones(num_points),
        textured=np.zeros(num_faces, bool),
        uv=np.zeros((num_points, 2)),
        shade=np.zeros(num_points),
        colors=np.ones((num_points, 1)),
        shaded=np.zeros(num_faces, bool),
        edgeflags=np.array([[count[side] == 1 for side in face] for face in sides]),
        height=shape[0],
        width=shape[1],
        nb_colors=1,
        texture=np.zeros((0, 0, 1)),
        background_image=np.zeros((*shape, 1)),
        clockwise=True,
        backface_culling=True,
    )


def forward(scenes: list[Scene2D]) -> list[np.ndarray]:
    """The masks, each (H, W, 1)."""
    return [each.render(SIGMA)[0] for each in scenes]


def forward_and_gradient(scenes: list[Scene2D], targets: np.ndarray) -> list[np.ndarray]:
    """The gradients (T, 2) of the squared difference to ``targets`` (N, H, W)."""
    gradients = []
    for each, target in zip(scenes, targets, strict=True):
        mask, _ = each.render(SIGMA)
        each.clear_gradients()
        each.render_backward(2 * (mask - target[..., None]), make_copies=False)
        gradients.append(each.ij_b)
    return gradients


def _of_one_winding(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The same triangles, none of which is culled."""
    a, b, c = (points[faces[:, i]] for i in range(3))
    (ux, uy), (vx, vy) = (b - a).T, (c - a).T
    turned = np.where((ux * vy - uy * vx < 0)[:, None], faces[:, ::-1], faces)
    return np.ascontiguousarray(turned, np.uint32)
