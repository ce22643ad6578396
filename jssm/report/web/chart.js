import { drawn, element, told } from "./dom.js";

const [WIDTH, HEIGHT] = [360, 190];
const MARGIN = { left: 34, right: 8, top: 8, bottom: 22 };

/** A chart of curves over time, whose cursor follows the frame; a click or a drag goes to one. */
export class Chart {
  /** @param {{title: string, decimals: number}} about @param {(frame: number) => void} onFrame */
  constructor({ title, decimals }, onFrame) {
    this.decimals = decimals;
    this.plot = drawn("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": title,
    });
    this.legend = element("div", { class: "legend" });
    this.node = element(
      "figure",
      { class: "chart" },
      element("figcaption", {}, title),
      this.plot,
      this.legend,
    );
    const go = (event) => {
      if (event.buttons === 1) onFrame(this.frameAt(event.clientX));
    };
    this.plot.addEventListener("pointerdown", go);
    this.plot.addEventListener("pointermove", go);
  }

  /**
   * @param {{name: string, colour: string, values: number[], isThin: boolean}[]} curves
   * @param {{times: number[], unit: string}} clock of the frames
   * @param {Record<string, number>} marks frames by name
   */
  draw(curves, { times, unit }, marks) {
    this.unit = unit;
    this.curves = curves;
    this.times = times;
    const known = curves.flatMap(({ values }) => values.filter(Number.isFinite));
    const ticks = roundTicks(Math.min(...known), Math.max(...known));
    const [low, high] = [ticks[0], ticks.at(-1)];
    this.x = (time) =>
      MARGIN.left +
      ((time - times[0]) / (times.at(-1) - times[0] || 1)) * (WIDTH - MARGIN.left - MARGIN.right);
    this.y = (value) =>
      HEIGHT -
      MARGIN.bottom -
      ((value - low) / (high - low || 1)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
    this.cursor = drawn("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom });
    this.plot.replaceChildren(
      ...ticks.map((tick) => this.gridLine(tick)),
      ...roundTicks(times[0], times.at(-1), 5).map((time) => this.timeLabel(time)),
      ...Object.entries(marks).flatMap(([name, frame]) => this.mark(name, frame)),
      ...curves.map((curve) => this.curve(curve)),
      this.cursor,
    );
    this.legend.replaceChildren(
      ...curves.map(({ name, colour }) =>
        element("span", {}, element("i", { style: `background:${colour}` }), name, element("b")),
      ),
    );
  }

  /** Put the cursor on a frame and tell the values there. */
  show(frame) {
    const x = this.x(this.times[frame]);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.curves.forEach(({ values }, k) => {
      this.legend.children[k].lastChild.textContent = told(values[frame], this.decimals);
    });
  }

  frameAt(clientX) {
    const box = this.plot.getBoundingClientRect();
    const x = ((clientX - box.left) / box.width) * WIDTH;
    const gaps = this.times.map((time) => Math.abs(this.x(time) - x));
    return gaps.indexOf(Math.min(...gaps));
  }

  gridLine(tick) {
    const y = this.y(tick);
    return drawn(
      "g",
      { class: tick === 0 ? "grid zero" : "grid" },
      drawn("line", { x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: y, y2: y }),
      drawn(
        "text",
        { x: MARGIN.left - 6, y: y + 3.5, "text-anchor": "end" },
        told(tick, tickDecimals(tick)),
      ),
    );
  }

  timeLabel(time) {
    if (time < this.times[0] || time > this.times.at(-1)) return drawn("g");
    return drawn(
      "text",
      { x: this.x(time), y: HEIGHT - 6, "text-anchor": "middle" },
      told(time, 0) + (time === 0 ? ` ${this.unit}` : ""),
    );
  }

  mark(name, frame) {
    const x = this.x(this.times[frame]);
    const isLate = x > WIDTH - 40; // there the name would be cut off on the right
    const beside = isLate ? { x: x - 3, "text-anchor": "end" } : { x: x + 3 };
    return [
      drawn("line", { class: "mark", x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
      drawn("text", { class: "mark", ...beside, y: MARGIN.top + 9 }, name),
    ];
  }

  /** A line with gaps where nothing is known; a value between two gaps is a dot. */
  curve({ values, colour, isThin }) {
    const pieces = [];
    values.forEach((value, f) => {
      if (!Number.isFinite(value)) return;
      const isNew = f === 0 || !Number.isFinite(values[f - 1]);
      const at = `${this.x(this.times[f]).toFixed(1)},${this.y(value).toFixed(1)}`;
      pieces.push(isNew ? `M${at}h0.01` : `L${at}`);
    });
    return drawn("path", {
      class: "curve",
      d: pieces.join(""),
      stroke: colour,
      "stroke-width": isThin ? 1.5 : 2.25,
    });
  }
}

/** Round numbers from at most the lowest to at least the highest value. */
function roundTicks(lowest, highest, parts = 4) {
  if (!Number.isFinite(lowest) || !Number.isFinite(highest)) return [0, 1];
  const raw = (highest - lowest || 1) / parts;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
  const first = Math.floor(lowest / step);
  const last = Math.max(first + 1, Math.ceil(highest / step));
  return Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step);
}

function tickDecimals(tick) {
  return Number.isInteger(Number(tick.toFixed(6))) ? 0 : 1;
}
