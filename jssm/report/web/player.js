import { colourOf, SCALES } from "./colours.js";
import { element } from "./dom.js";
import { outlineIndices } from "./shape.js";

const OUTLINE = "#ffb84d";
const PINNED = "#ff5fa2";
const POINT = "#ffffff";
const WALL_ALPHA = 0.75; // of its colours, through which the image is seen
const GRAB_PX = 12; // how near to a point a press takes it
const SURROUNDINGS = 1.6; // what is seen of the heart's surroundings
export const ZOOM_STEP = 1.25;
const MOST_ZOOM = 8;

/** The image of a frame with the wall over it. It draws, and tells where a point is dragged. */
export class Player {
  /** @param {{grab, drag, drop, step}} actions for drags and the wheel */
  constructor(actions) {
    this.actions = actions;
    this.show = { outline: true, points: true, colour: "" };
    this.selected = null;
    this.canvas = element("canvas", {
      tabindex: 0,
      "aria-label": "Frame with the wall; drag a point to correct it",
      pointerdown: (event) => this.press(event),
      pointermove: (event) => this.moveTo(event),
      pointerup: () => this.release(),
      pointercancel: () => this.release(),
      wheel: (event) => this.wheel(event),
      dblclick: () => this.reset(),
    });
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  /** Take another cine; its frames are decoded once. */
  async load(cine) {
    this.cine = cine;
    this.frame = 0;
    this.selected = null;
    this.images = cine.record.frames.map((text) => {
      const image = new Image();
      image.src = `data:image/jpeg;base64,${text}`;
      return image;
    });
    this.frameHeart();
    this.reset(true);
    await Promise.all(this.images.map((image) => image.decode()));
    if (this.cine === cine) this.draw();
  }

  /** See the heart, with its surroundings, as large as it fits. */
  frameHeart() {
    const { record, points } = this.cine;
    const all = points.flatMap((frame) => Array.from(frame));
    const xs = all.filter((_, i) => i % 2 === 0);
    const ys = all.filter((_, i) => i % 2 === 1);
    const [left, right, top, bottom] = [
      Math.min(...xs),
      Math.max(...xs),
      Math.min(...ys),
      Math.max(...ys),
    ];
    const share =
      SURROUNDINGS * Math.max((right - left) / record.columns, (bottom - top) / record.rows);
    this.home = {
      zoom: Math.max(1, Math.min(MOST_ZOOM, 1 / share)),
      centre: [(left + right) / 2, (top + bottom) / 2],
    };
  }

  /** Between the heart and the whole image. */
  reset(isHeart = this.zoom !== this.home.zoom) {
    const { record } = this.cine;
    this.zoom = isHeart ? this.home.zoom : 1;
    this.centre = isHeart ? this.home.centre : [(record.columns - 1) / 2, (record.rows - 1) / 2];
    this.draw();
  }

  zoomBy(factor) {
    this.zoom = Math.min(MOST_ZOOM, Math.max(1, this.zoom * factor));
    this.draw();
  }

  /** Canvas pixels per image pixel along x, and the whole map. */
  get view() {
    const { rows, columns, aspect } = this.cine.record;
    const { width, height } = this.canvas;
    const scale = this.zoom * Math.min(width / columns, height / (rows * aspect));
    const [x, y] = this.centre;
    return { scale, aspect, left: width / 2 - scale * x, top: height / 2 - scale * aspect * y };
  }

  toCanvas(x, y) {
    const { scale, aspect, left, top } = this.view;
    return [left + scale * x, top + scale * aspect * y];
  }

  /** The place in the image, px, under a pointer. */
  toImage(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    const { scale, aspect, left, top } = this.view;
    return [
      ((event.clientX - box.left) * ratio - left) / scale,
      ((event.clientY - box.top) * ratio - top) / (scale * aspect),
    ];
  }

  /** Where a point lies on the screen, in CSS pixels of the canvas. */
  screenPoint(t) {
    const points = this.cine.points[this.frame];
    const [x, y] = this.toCanvas(points[2 * t], points[2 * t + 1]);
    const ratio = this.canvas.width / this.canvas.getBoundingClientRect().width;
    return [x / ratio, y / ratio];
  }

  draw() {
    if (!this.cine) return;
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    const image = this.images[this.frame];
    const { rows, columns } = this.cine.record;
    const [left, top] = this.toCanvas(-0.5, -0.5);
    const [right, bottom] = this.toCanvas(columns - 0.5, rows - 0.5);
    if (image.complete) pen.drawImage(image, left, top, right - left, bottom - top);
    this.drawWall(pen, ratio);
  }

  drawWall(pen, ratio) {
    const points = this.cine.points[this.frame];
    const count = points.length / 2;
    const at = (t) => this.toCanvas(points[2 * t], points[2 * t + 1]);
    if (this.show.colour) this.fillWall(pen, at, count / 2);
    if (this.show.outline) {
      pen.beginPath();
      outlineIndices(count).forEach((t) => pen.lineTo(...at(t)));
      pen.closePath();
      pen.strokeStyle = OUTLINE;
      pen.lineWidth = 1.75 * ratio;
      pen.setLineDash(this.cine.isUsed(this.frame) ? [] : [6 * ratio, 5 * ratio]);
      pen.stroke();
      pen.setLineDash([]);
    }
    if (this.show.points) this.drawPoints(pen, at, count, ratio);
  }

  /** The wall between neighbouring pairs of points, in the colours of a quantity. */
  fillWall(pen, at, half) {
    const values = this.colours();
    const layer = new OffscreenCanvas(this.canvas.width, this.canvas.height);
    const brush = layer.getContext("2d");
    for (let i = 0; i + 1 < half; i++) {
      brush.beginPath();
      [i, i + 1, half + i + 1, half + i].forEach((t) => brush.lineTo(...at(t)));
      brush.closePath();
      brush.fillStyle = brush.strokeStyle = colourOf(SCALES[this.show.colour], values(i));
      brush.fill();
      brush.stroke(); // no seam to the next
    }
    pen.globalAlpha = WALL_ALPHA;
    pen.drawImage(layer, 0, 0);
    pen.globalAlpha = 1;
  }

  /** The quantity at the edge from pair i of points to the next. */
  colours() {
    const { cine, frame } = this;
    const { measures } = cine;
    const half = cine.points[frame].length / 4;
    const mean = (values, i) => (values[i] + values[i + 1]) / 2;
    if (this.show.colour === "uncertainty") {
      const values = cine.record.deviation_px?.[frame];
      return (i) => (values ? (mean(values, i) + mean(values, half + i)) / 2 : NaN);
    }
    if (!measures) return () => NaN;
    if (this.show.colour === "thickness") return (i) => mean(measures.thickness[frame], i);
    return (i) => measures.lines.mid.segments[frame][measures.segmentOfEdge[i]];
  }

  drawPoints(pen, at, count, ratio) {
    const pins = this.cine.pins[this.frame];
    for (let t = 0; t < count; t++) {
      const isPinned = pins.has(t);
      const [x, y] = at(t);
      pen.beginPath();
      pen.arc(x, y, (isPinned ? 4 : 2) * ratio, 0, 2 * Math.PI);
      pen.fillStyle = isPinned ? PINNED : POINT;
      pen.fill();
      if (t !== this.selected) continue;
      pen.beginPath();
      pen.arc(x, y, 8 * ratio, 0, 2 * Math.PI);
      pen.strokeStyle = PINNED;
      pen.lineWidth = 1.5 * ratio;
      pen.stroke();
    }
  }

  /** The point under a pointer, or null. */
  pointAt(event) {
    if (!this.show.points) return null;
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const count = this.cine.points[this.frame].length / 2;
    let [best, least] = [null, GRAB_PX];
    for (let t = 0; t < count; t++) {
      const [px, py] = this.screenPoint(t);
      const distance = Math.hypot(px - x, py - y);
      if (distance < least) [best, least] = [t, distance];
    }
    return best;
  }

  press(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.grabbed = this.pointAt(event);
    this.pressed = this.toImage(event);
    if (this.grabbed === null) return;
    const points = this.cine.points[this.frame];
    this.offset = [0, 1].map((axis) => points[2 * this.grabbed + axis] - this.pressed[axis]);
    this.selected = this.grabbed;
    this.isMoved = false;
    this.draw();
  }

  moveTo(event) {
    if (!this.pressed) {
      this.canvas.style.cursor = this.pointAt(event) === null ? "default" : "grab";
      return;
    }
    const place = this.toImage(event);
    if (this.grabbed === null) {
      this.centre = this.centre.map((value, axis) => value + this.pressed[axis] - place[axis]);
      this.draw();
      return;
    }
    if (!this.isMoved) this.actions.grab(this.frame);
    this.isMoved = true;
    this.actions.drag(
      this.frame,
      this.grabbed,
      place.map((value, axis) => value + this.offset[axis]),
    );
  }

  release() {
    if (this.pressed && this.grabbed !== null && this.isMoved) this.actions.drop();
    this.pressed = null;
  }

  wheel(event) {
    event.preventDefault();
    if (event.ctrlKey) this.zoomBy(event.deltaY < 0 ? ZOOM_STEP : 1 / ZOOM_STEP);
    else this.actions.step(Math.sign(event.deltaY));
  }
}
