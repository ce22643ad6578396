// Whether a strip of points neither folds nor crosses itself: jssm.integrity.
import { outlineIndices } from "./shape.js";

/** {ok, flipped, crossings} of points: triangles turned the wrong way, crossings of the outline. */
export function certificate(points) {
  const flipped = flippedTriangles(points);
  const crossings = countCrossings(points);
  return { ok: flipped === 0 && crossings === 0, flipped, crossings };
}

/** The sign of the turn from point a over b to c; 0 where they lie on a line. */
function turn(points, a, b, c) {
  const [ux, uy] = [points[2 * b] - points[2 * a], points[2 * b + 1] - points[2 * a + 1]];
  const [vx, vy] = [points[2 * c] - points[2 * a], points[2 * c + 1] - points[2 * a + 1]];
  return Math.sign(ux * vy - uy * vx);
}

function flippedTriangles(points) {
  const half = points.length / 4;
  let [left, right] = [0, 0];
  for (let i = 0; i + 1 < half; i++) {
    // The two triangles of a quad have opposite winding.
    for (const sign of [
      -turn(points, i, i + 1, half + i),
      turn(points, half + i, half + i + 1, i + 1),
    ]) {
      if (sign > 0) left++;
      if (sign < 0) right++;
    }
  }
  return 2 * (half - 1) - Math.max(left, right);
}

function countCrossings(points) {
  const loop = outlineIndices(points.length / 2);
  const next = (i) => loop[(i + 1) % loop.length];
  let count = 0;
  for (let i = 0; i < loop.length; i++) {
    for (let j = i + 1; j < loop.length; j++) {
      const [a, b, c, d] = [loop[i], next(i), loop[j], next(j)];
      const isAcross = turn(points, a, b, c) * turn(points, a, b, d) < 0;
      if (isAcross && turn(points, c, d, a) * turn(points, c, d, b) < 0) count++;
    }
  }
  return count;
}
