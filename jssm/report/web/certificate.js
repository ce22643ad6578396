// Whether a strip of points neither folds nor crosses itself: jssm.integrity.
import { nearestOffset } from "./geometry.js";
import { loops } from "./shape.js";

/**
 * What is wrong with points: {ok, flipped, crossings, thickness}.
 * flipped: the triangles, three indices each, that are turned against most others.
 * crossings: how often the outline crosses itself. thickness: the least, 0 where walls cross.
 * closed: the points are a ring's.
 */
export function certificate(points, closed = false) {
  const flipped = flippedTriangles(points, closed);
  const crossings = countCrossings(points, closed);
  const thickness = crossings ? 0 : leastThickness(points, closed);
  return { ok: !flipped.length && !crossings && thickness > 0, flipped, crossings, thickness };
}

/** The sign of the turn from point a over b to c; 0 where they lie on a line. */
function turn(points, a, b, c) {
  const [ux, uy] = [points[2 * b] - points[2 * a], points[2 * b + 1] - points[2 * a + 1]];
  const [vx, vy] = [points[2 * c] - points[2 * a], points[2 * c + 1] - points[2 * a + 1]];
  return Math.sign(ux * vy - uy * vx);
}

function flippedTriangles(points, closed) {
  const half = points.length / 4;
  const signed = [];
  for (let i = 0; i < (closed ? half : half - 1); i++) {
    const after = (i + 1) % half;
    // The two triangles of a quad have opposite winding.
    const [inner, outer] = [
      [i, after, half + i],
      [half + i, half + after, after],
    ];
    signed.push([inner, -turn(points, ...inner)], [outer, turn(points, ...outer)]);
  }
  const lefts = signed.filter(([, sign]) => sign > 0).length;
  const rights = signed.filter(([, sign]) => sign < 0).length;
  const majority = lefts >= rights ? 1 : -1;
  return signed.filter(([, sign]) => sign !== majority).map(([triangle]) => triangle);
}

function countCrossings(points, closed) {
  const edges = loops(points.length / 2, closed).flatMap((loop) =>
    loop.map((corner, i) => [corner, loop[(i + 1) % loop.length]]),
  );
  let count = 0;
  for (let i = 0; i < edges.length; i++) {
    for (let j = i + 1; j < edges.length; j++) {
      const [[a, b], [c, d]] = [edges[i], edges[j]];
      const isAcross = turn(points, a, b, c) * turn(points, a, b, d) < 0;
      if (isAcross && turn(points, c, d, a) * turn(points, c, d, b) < 0) count++;
    }
  }
  return count;
}

/** The smallest distance between the inner and the outer boundary. */
function leastThickness(points, closed) {
  const all = Array.from({ length: points.length / 2 }, (_, t) => [
    points[2 * t],
    points[2 * t + 1],
  ]);
  const [inner, outer] = [all.slice(0, all.length / 2), all.slice(all.length / 2)];
  const lineOf = (boundary) => (closed ? [...boundary, boundary[0]] : boundary);
  const distances = (from, to) =>
    from.map((point) => Math.hypot(...nearestOffset(point, lineOf(to))));
  return Math.min(...distances(inner, outer), ...distances(outer, inner));
}
