import { solvePositive } from "./linear.js";
import { decode, deform, place } from "./shape.js";

const STEPS = 20;
const PRECISION = 9; // of a mode weight over its bound, whose standard deviation is 1/3

/**
 * A predicted pose, corrected: jssm.shape.correcting.correct, where the formula stands.
 * @param {object} shape
 * @param {{theta: number[], beta: number[]}} pose the predicted one
 * @param {Map<number, [number, number]>} pins where points were put, px
 * @param {number} handPx the standard deviation of such a point
 * @param {number[]} nearPx how far each predicted point may be off
 */
export function correct(shape, pose, pins, handPx, nearPx) {
  const start = decode(shape, pose);
  const share = Float64Array.from(pose.beta, (value, k) => value / shape.limits[k]);
  const bend = Float64Array.from(share);
  const theta = Float64Array.from(pose.theta);
  for (let step = 0; step < STEPS; step++) {
    const beta = bend.map((value, k) => value * shape.limits[k]);
    const canonical = deform(shape, beta);
    const points = place(theta, canonical);
    const { information, pull } = normalEquations(
      shape,
      theta,
      canonical,
      points,
      start,
      pins,
      handPx,
      nearPx,
    );
    addPrior(information, pull, bend, share);
    const change = solvePositive(information, pull);
    move(theta, change);
    bend.forEach((value, k) => {
      bend[k] = Math.min(1, Math.max(-1, value + change[6 + k]));
    });
  }
  return {
    theta: Array.from(theta),
    beta: Array.from(bend, (value, k) => value * shape.limits[k]),
  };
}

/** What the points say of a change of the affine map, by rows, and the modes. */
function normalEquations(shape, theta, canonical, points, start, pins, handPx, nearPx) {
  const size = 6 + shape.modes.length;
  const information = new Float64Array(size * size);
  const pull = new Float64Array(size);
  const effect = new Float64Array(size);
  for (let t = 0; t < points.length / 2; t++) {
    const pin = pins.get(t);
    const [near, hand] = [nearPx[t] ** -2, pin ? handPx ** -2 : 0];
    for (let axis = 0; axis < 2; axis++) {
      const at = 2 * t + axis;
      const wish = near * (start[at] - points[at]) + (pin ? hand * (pin[axis] - points[at]) : 0);
      effectOf(effect, shape, theta, canonical, t, axis);
      for (let i = 0; i < size; i++) {
        pull[i] += effect[i] * wish;
        const weighted = effect[i] * (near + hand);
        for (let j = 0; j <= i; j++) information[i * size + j] += weighted * effect[j];
      }
    }
  }
  for (let i = 0; i < size; i++) {
    for (let j = i + 1; j < size; j++) information[i * size + j] = information[j * size + i];
  }
  return { information, pull };
}

/** The derivative of one coordinate of point t by the change of the map and the modes. */
function effectOf(effect, shape, theta, canonical, t, axis) {
  const [left, right] = [theta[3 * axis], theta[3 * axis + 1]];
  const [x, y] = [canonical[2 * t], canonical[2 * t + 1]];
  effect.set([left * x, left * y, left, right * x, right * y, right]);
  shape.modes.forEach((mode, k) => {
    effect[6 + k] = shape.limits[k] * (left * mode[2 * t] + right * mode[2 * t + 1]);
  });
}

/** Add the prior to the equations; modes that are pulled beyond their bound stay. */
function addPrior(information, pull, bend, share) {
  const size = pull.length;
  for (let k = 0; k < bend.length; k++) {
    const i = 6 + k;
    pull[i] -= PRECISION * (bend[k] - share[k]);
    information[i * size + i] += PRECISION;
    if (Math.abs(bend[k]) < 1 || bend[k] * pull[i] <= 0) continue;
    pull[i] = 0;
    for (let j = 0; j < size; j++) {
      information[i * size + j] = information[j * size + i] = i === j ? 1 : 0;
    }
  }
}

/** Put an affine change in the canonical frame before the map. */
function move(theta, change) {
  for (let row = 0; row < 2; row++) {
    const [a, b] = [theta[3 * row], theta[3 * row + 1]];
    for (let column = 0; column < 3; column++) {
      theta[3 * row + column] += a * change[column] + b * change[3 + column];
    }
  }
}
