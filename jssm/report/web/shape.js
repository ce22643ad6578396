// The statistical shape model, as jssm.shape has it. Points are flat: x0, y0, x1, y1, …; the first
// half lies on the inner boundary, the second on the outer. θ is flat by rows: six numbers.

/** A shape model from its lists of numbers. */
export function shapeModel({ mean, modes, variances, closed = false }) {
  return {
    closed,
    mean: Float64Array.from(mean.flat()),
    modes: modes.map((mode) => Float64Array.from(mode.flat())),
    limits: Float64Array.from(variances, (variance) => 3 * Math.sqrt(variance)),
  };
}

/** The canonical points of mode weights: the mean and the weighted modes. */
export function deform(shape, beta) {
  const points = Float64Array.from(shape.mean);
  shape.modes.forEach((mode, k) => {
    for (let i = 0; i < points.length; i++) points[i] += beta[k] * mode[i];
  });
  return points;
}

/** Canonical points where an affine map puts them. */
export function place(theta, canonical) {
  const [a, b, x, c, d, y] = theta;
  const points = new Float64Array(canonical.length);
  for (let i = 0; i < points.length; i += 2) {
    points[i] = a * canonical[i] + b * canonical[i + 1] + x;
    points[i + 1] = c * canonical[i] + d * canonical[i + 1] + y;
  }
  return points;
}

/** The points of a pose {theta, beta}. */
export function decode(shape, { theta, beta }) {
  return place(theta, deform(shape, beta));
}

/** The outline's closed loops, lists of indices: one, or, of a ring, the two boundaries. */
export function loops(count, closed = false) {
  const outline = outlineIndices(count);
  return closed ? [outline.slice(0, count / 2), outline.slice(count / 2)] : [outline];
}

/** The closed outline as indices: along the inner boundary, back along the outer. */
export function outlineIndices(count) {
  const half = count / 2;
  return Array.from({ length: count }, (_, i) => (i < half ? i : count - 1 - (i - half)));
}
