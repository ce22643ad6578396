import { certificate } from "./certificate.js";
import { correct } from "./fit.js";
import { measure } from "./measures.js";
import { decode, shapeModel } from "./shape.js";

const LEAST_USED = 0.5; // of the frames of a cine: from fewer nothing is measured

/** One cine of a report: its record, the points that a reader moved, and what follows from them. */
export class Cine {
  constructor(record, shapeLists) {
    this.record = record;
    this.shapeLists = shapeLists;
    this.shape = shapeModel(shapeLists);
    this.predicted = record.theta.map((theta, f) => ({
      theta: theta.flat(),
      beta: record.beta[f],
    }));
    this.poses = [...this.predicted];
    this.points = this.poses.map((pose) => decode(this.shape, pose));
    this.pins = this.poses.map(() => new Map());
    this.past = [];
    this.refused = (record.used ?? this.poses.map(() => true)).map((used) => !used);
    this.measures = this.measured();
    this.before = this.measures;
  }

  get count() {
    return this.poses.length;
  }

  get isCorrected() {
    return this.pins.some((pins) => pins.size > 0);
  }

  /** Frames with a point that a reader moved count, even where they had been refused. */
  isUsed(frame) {
    return !this.refused[frame] || this.pins[frame].size > 0;
  }

  /** Whether a reader moved a point of the frame, now or before the page was made. */
  wasCorrected(frame) {
    const isOf = (correction) => correction.frame === frame;
    return this.pins[frame].size > 0 || this.record.corrections.some(isOf);
  }

  /** A segment's strain is doubted until both frames that it rests on were corrected:
   * end-diastole and that of the peak. */
  isDoubted(segment, peak) {
    const frames = [this.measures.ed, peak];
    return Boolean(
      this.record.doubtful?.[segment] && !frames.every((frame) => this.wasCorrected(frame)),
    );
  }

  /** Remember the frame's points as they are, so that undo comes back to them. */
  remember(frame) {
    this.past.push({ frame, pins: new Map(this.pins[frame]) });
  }

  /** Put a point of a frame somewhere; the shape follows. */
  pin(frame, point, place) {
    this.pins[frame].set(point, place);
    this.refit(frame);
  }

  /** Take back the last change; gives its frame, or null. */
  undo() {
    const last = this.past.pop();
    if (!last) return null;
    this.pins[last.frame] = last.pins;
    this.refit(last.frame);
    return last.frame;
  }

  refit(frame) {
    const { record, shape, predicted, pins } = this;
    const isMoved = pins[frame].size > 0;
    this.poses[frame] = isMoved
      ? correct(shape, predicted[frame], pins[frame], record.hand_px, record.near_px[frame])
      : predicted[frame];
    this.points[frame] = decode(shape, this.poses[frame]);
    this.measures = this.measured();
  }

  measured() {
    const { record } = this;
    const used = this.points.map((_, f) => this.isUsed(f));
    const usedCount = used.filter(Boolean).length;
    if (usedCount < 2 || usedCount < LEAST_USED * this.count) return null;
    return measure(this.points, {
      spacing: record.spacing_mm.every(Number.isFinite) ? record.spacing_mm : null,
      aspect: record.aspect,
      frameTime: record.frame_time_s ?? NaN,
      periodic: record.about.whole_cycle,
      fromTrigger: record.from_trigger_s ?? null,
      used,
    });
  }

  folds(frame) {
    return !certificate(this.points[frame]).ok;
  }

  /** The frames' times in ms, or their numbers. */
  get clock() {
    const { time_s: times } = this.record;
    const areKnown = times.every(Number.isFinite);
    return areKnown
      ? { times: times.map((time) => 1000 * time), unit: "ms" }
      : { times: times.map((_, frame) => frame), unit: "" };
  }

  /** The record with the corrected poses, for `jssm measure`. */
  saved() {
    const record = { ...this.record, shape: this.shapeLists };
    delete record.summary;
    const moved = this.pins.flatMap((pins, frame) =>
      [...pins].map(([point, [x, y]]) => ({ frame, point, x_px: x, y_px: y })),
    );
    return {
      ...record,
      corrections: [...record.corrections, ...moved],
      theta: this.poses.map(({ theta }) => [theta.slice(0, 3), theta.slice(3)]),
      beta: this.poses.map(({ beta }) => Array.from(beta)),
      points_px: this.points.map((points) =>
        Array.from({ length: points.length / 2 }, (_, t) => [points[2 * t], points[2 * t + 1]]),
      ),
    };
  }
}
