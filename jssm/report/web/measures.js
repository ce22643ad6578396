// Strain, thickness, volumes: jssm.measure_motion and docs/MOTION.md, for the frames of one cine.
// Frames that are not used have NaN everywhere and take no part.

import { nearestOffset } from "./geometry.js";

const LINES = ["endo", "mid", "epi"];
const NEAR_APEX = 0.95; // points at least this far from the base, relative to the farthest
const DISCS = 20;
const AS_LARGE = 0.02; // of the stroke's area: two cavities that differ by less are as large

/**
 * @param {Float64Array[]} frames the points of each frame, px
 * @param {object} cine {spacing: [row, column] or null, aspect, frameTime, periodic, used: bool[],
 *   fromTrigger: how far each frame is from the scanner's trigger, or null}
 */
export function measure(frames, cine) {
  const { toSquare, side } = pixel(cine.spacing, cine.aspect);
  const walls = frames.map((points, f) => wallOf(points, toSquare, cine.used[f]));
  const areas = walls.map((wall) => wall.area);
  const [ed, es] = [endDiastole(areas, cine.fromTrigger), extreme(areas, -1)];
  if (ed < 0) return null;
  const clock = { ed, es, count: frames.length, ...cine };
  const shares = segmentShares(walls[ed].inner);
  const thickness = walls.map((wall) => wall.thickness);
  const meanThickness = thickness.map(mean);
  const radial = strainOf(meanThickness, ed);
  const segmentThickness = thickness.map((values) => overSegments(shares, values));
  const volumes = walls.map((wall) => (side ** 3 * areaLength(wall.area, wall.length)) / 1000);
  return {
    ed,
    es,
    endSystole: betweenS(
      summit(areas, ed, clock),
      summit(
        areas.map((area) => -area),
        es,
        clock,
      ),
      clock,
    ),
    lines: Object.fromEntries(
      LINES.map((name, k) => [
        name,
        lineStrain(
          walls.map((wall) => wall.lines[k]),
          clock,
          side,
        ),
      ]),
    ),
    thickness: thickness.map((values) => values.map((value) => side * value)),
    meanThickness: meanThickness.map((value) => side * value),
    radial,
    radialPeak: Math.max(...radial.filter(Number.isFinite)),
    radialTime: sinceEd(extreme(radial, 1), clock),
    segmentThickness: segmentThickness.map((values) => values.map((value) => side * value)),
    segmentRadial: segmentThickness.map((values) =>
      values.map((value, k) => (100 * (value - segmentThickness[ed][k])) / segmentThickness[ed][k]),
    ),
    segmentOfEdge: edgeSegments(shares),
    area: walls.map((wall) => side ** 2 * wall.area),
    length: walls.map((wall) => side * wall.length),
    diameters: walls.map((wall) => wall.diameters.map((value) => side * value)),
    volume: volumes,
    ejectionFraction: 100 * (1 - areaOver(walls[es]) / areaOver(walls[ed])),
  };
}

/** Volumes and ejection fraction by the biplane method of discs, of the measures of two views. */
export function biplane(two, four) {
  const volume = (a, b) => {
    const length = Math.max(two.length[a], four.length[b]);
    const products = two.diameters[a].map((diameter, k) => diameter * four.diameters[b][k]);
    return ((Math.PI / 4) * sum(products) * length) / DISCS / 1000;
  };
  const [ed, es] = [volume(two.ed, four.ed), volume(two.es, four.es)];
  return { ed, es, ejectionFraction: 100 * (1 - es / ed) };
}

/** The lowest value of each segment over time, and the frame of it; −1 where none is known. */
export function segmentPeaks(values, sign) {
  return values[0].map((_, k) => {
    const curve = values.map((row) => row[k]);
    const frame = extreme(curve, sign);
    return { frame, value: frame < 0 ? NaN : curve[frame] };
  });
}

/** Seconds from end-diastole to a frame. */
export function sinceEd(frame, clock) {
  return betweenS(clock.ed, frame, clock);
}

/** Seconds from one moment to another, both in frames. */
function betweenS(first, last, { count, periodic, frameTime }) {
  const later = last - first;
  return (periodic ? (later + count) % count : later) * frameTime;
}

/** Of the frames whose cavity is as large as the largest, that nearest to the scanner's trigger;
 * the largest where that is not known, −1 where no area is. */
function endDiastole(areas, fromTrigger) {
  const largest = extreme(areas, 1);
  if (largest < 0 || !fromTrigger) return largest;
  const [most, least] = [areas[largest], areas[extreme(areas, -1)]];
  const away = areas.map((area, frame) =>
    area >= most - AS_LARGE * (most - least) ? (fromTrigger[frame] ?? NaN) : NaN,
  );
  const nearest = extreme(away, -1);
  return nearest < 0 ? largest : nearest;
}

/** The moment, in frames, at which the parabola through values at a frame and its neighbours is
 * highest; the frame itself where a neighbour is missing, or where it opens upwards. */
function summit(values, frame, { count, periodic }) {
  const neighbours = [frame - 1, frame + 1].map((f) => (periodic ? (f + count) % count : f));
  const [low, middle, high] = [neighbours[0], frame, neighbours[1]].map((f) => values[f] ?? NaN);
  const bend = low - 2 * middle + high;
  if (!(bend < 0)) return frame;
  return frame + Math.min(0.5, Math.max(-0.5, (low - high) / (2 * bend)));
}

function areaOver(wall) {
  return areaLength(wall.area, wall.length);
}

function areaLength(area, length) {
  return (8 * area ** 2) / (3 * Math.PI * length);
}

/** What makes pixels square, (x, y), and the side of the square in mm, NaN without a spacing. */
function pixel(spacing, aspect) {
  const [row, column] = spacing ?? [aspect, 1];
  const side = spacing ? Math.sqrt(row * column) : NaN;
  return { toSquare: [Math.sqrt(column / row), Math.sqrt(row / column)], side };
}

/** Lines, thickness and cavity of one frame, in sides of a square pixel. */
function wallOf(points, toSquare, isUsed) {
  const scaled = Float64Array.from(points, (value, i) => (isUsed ? value * toSquare[i % 2] : NaN));
  const all = Array.from({ length: scaled.length / 2 }, (_, t) => [
    scaled[2 * t],
    scaled[2 * t + 1],
  ]);
  const inner = all.slice(0, all.length / 2);
  const outer = all.slice(all.length / 2);
  const across = inner.map((point) => nearestOffset(point, outer));
  const middle = inner.map(([x, y], i) => [x - across[i][0] / 2, y - across[i][1] / 2]);
  const { length, diameters } = cavityDiscs(inner);
  return {
    inner,
    lines: [inner, middle, outer],
    thickness: across.map(([x, y]) => Math.hypot(x, y)),
    area: polygonArea(inner),
    length,
    diameters,
  };
}

function polygonArea(points) {
  const cross = points.map(([x, y], i) => {
    const [nextX, nextY] = points[(i + 1) % points.length];
    return x * nextY - y * nextX;
  });
  return Math.abs(sum(cross)) / 2;
}

/** The long axis of a cavity, and the widths of its discs across it, from base to apex. */
function cavityDiscs(inner) {
  const last = inner.at(-1);
  const base = [(inner[0][0] + last[0]) / 2, (inner[0][1] + last[1]) / 2];
  const distances = inner.map(([x, y]) => Math.hypot(x - base[0], y - base[1]));
  const length = Math.max(...distances);
  if (!Number.isFinite(length)) return { length: NaN, diameters: Array(DISCS).fill(NaN) };
  const apex = inner[distances.indexOf(length)];
  const [ux, uy] = [(apex[0] - base[0]) / length, (apex[1] - base[1]) / length];
  const along = inner.map(([x, y]) => (x - base[0]) * ux + (y - base[1]) * uy);
  const side = inner.map(([x, y]) => ux * (y - base[1]) - uy * (x - base[0]));
  const diameters = Array.from({ length: DISCS }, (_, k) => {
    const level = ((k + 0.5) / DISCS) * length;
    const widths = inner.map((point, i) => {
      const j = (i + 1) % inner.length;
      const passes = Number(along[i] <= level) - Number(along[j] <= level);
      if (!passes) return 0;
      return (
        passes * (side[i] + ((level - along[i]) / (along[j] - along[i])) * (side[j] - side[i]))
      );
    });
    return Math.abs(sum(widths));
  });
  return { length, diameters };
}

/** How much of each edge's length lies in each of the six segments of a line. */
function segmentShares(line) {
  const steps = edgeLengths(line);
  const arc = [0];
  steps.forEach((step) => arc.push(arc.at(-1) + step));
  const [first, last] = [line[0], line.at(-1)];
  const base = [(first[0] + last[0]) / 2, (first[1] + last[1]) / 2];
  const distances = line.map(([x, y]) => Math.hypot(x - base[0], y - base[1]));
  const farthest = Math.max(...distances);
  const apex = mean(arc.filter((_, i) => distances[i] >= NEAR_APEX * farthest));
  const end = arc.at(-1);
  const cuts = [
    0,
    apex / 3,
    (2 * apex) / 3,
    apex,
    apex + (end - apex) / 3,
    apex + (2 * (end - apex)) / 3,
    end,
  ];
  return Array.from({ length: 6 }, (_, k) =>
    steps.map((step, i) =>
      Math.max(0, Math.min(arc[i + 1], cuts[k + 1]) - Math.max(arc[i], cuts[k])),
    ),
  );
}

/** The segment in which most of each edge lies. */
function edgeSegments(shares) {
  return shares[0].map((_, i) => {
    const parts = shares.map((share) => share[i]);
    return parts.indexOf(Math.max(...parts));
  });
}

/** The mean over each segment of values at the points of a line. */
function overSegments(shares, values) {
  return shares.map((share) => {
    const total = sum(share);
    return sum(share.map((part, i) => (part / total) * ((values[i] + values[i + 1]) / 2)));
  });
}

/** Longitudinal strain of one line in all frames, and of its six segments. */
function lineStrain(lines, clock, side) {
  const steps = lines.map(edgeLengths);
  const start = steps[clock.ed];
  const shares = segmentShares(lines[clock.ed]);
  const whole = steps.map((step) => (100 * sum(step.map((s, i) => s - start[i]))) / sum(start));
  const segments = steps.map((step) =>
    shares.map((share) => {
      const change = sum(share.map((part, i) => ((step[i] - start[i]) * part) / (start[i] || 1)));
      return (100 * change) / sum(share);
    }),
  );
  const peak = extreme(whole, -1);
  return {
    length: steps.map((step) => side * sum(step)),
    strain: whole,
    peak: whole[peak],
    endSystole: whole[clock.es],
    time: sinceEd(peak, clock),
    segments,
  };
}

function edgeLengths(line) {
  return line.slice(1).map(([x, y], i) => Math.hypot(x - line[i][0], y - line[i][1]));
}

function strainOf(values, ed) {
  return values.map((value) => (100 * (value - values[ed])) / values[ed]);
}

/** The first index of the largest (sign 1) or least (−1) number; −1 where none is one. */
function extreme(values, sign) {
  let best = -1;
  values.forEach((value, i) => {
    if (Number.isFinite(value) && (best < 0 || sign * value > sign * values[best])) best = i;
  });
  return best;
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values) {
  return sum(values) / values.length;
}
