import { certificate } from "./certificate.js";
import { drawn, element, pageHeader, told } from "./dom.js";
import { deform, loops, shapeModel } from "./shape.js";

const BOUND = 3; // of a mode weight, in standard deviations
const FIRST = 8; // modes that are seen before all are asked for
const SWEEP_MS = 4000; // once through a mode and back

/** A shape model to play with: a slider for each mode, and whether the shape folds. */
class Modes {
  constructor({ source, shape }) {
    this.source = source;
    this.shape = shapeModel(shape);
    this.variances = shape.variances;
    this.weights = this.variances.map(() => 0);
    this.makeDrawing();
    this.rows = this.weights.map((_, k) => this.sliderRow(k));
    this.makePage();
    this.refresh();
  }

  makeDrawing() {
    const reach = 1.25 * Math.max(...deform(this.shape, this.weights).map(Math.abs));
    const size = 2 * reach;
    this.wall = drawn("path", { class: "wall" });
    this.folds = drawn("g", { class: "folds" });
    this.dots = drawn("g", { class: "dots" });
    this.picture = drawn(
      "svg",
      { viewBox: `${-reach} ${-reach} ${size} ${size}`, role: "img", "aria-label": "The shape" },
      drawn("path", { class: "mean", d: this.outlineOf(deform(this.shape, this.weights)) }),
      this.wall,
      this.folds,
      this.dots,
    );
  }

  sliderRow(k) {
    const total = this.variances.reduce((sum, variance) => sum + variance, 0);
    const input = element("input", {
      type: "range",
      min: -BOUND,
      max: BOUND,
      step: 0.05,
      value: 0,
      "aria-label": `Mode ${k + 1}, in standard deviations`,
      input: () => this.set(k, Number(input.value)),
    });
    const output = element("output");
    const play = element(
      "button",
      { type: "button", "aria-label": `Play mode ${k + 1}`, click: () => this.sweep(k) },
      "▶",
    );
    const share = `${told((100 * this.variances[k]) / total, 1)} %`;
    const node = element(
      "div",
      { class: "mode" },
      play,
      element("span", {}, `Mode ${k + 1}`, element("small", {}, share)),
      input,
      output,
    );
    node.hidden = k >= FIRST;
    return { node, input, output, play };
  }

  makePage() {
    const button = (text, click) => element("button", { type: "button", click }, text);
    this.verdict = element("div", { class: "verdict", role: "status" });
    this.more = button(`All ${this.weights.length} modes`, () => {
      for (const { node } of this.rows) node.hidden = false;
      this.more.hidden = true;
    });
    this.more.hidden = this.weights.length <= FIRST;
    document.body.append(
      pageHeader(
        this.source,
        `${this.shape.mean.length / 2} points, ${this.weights.length} modes`,
        element("nav"),
        [button("Mean", () => this.setAll(() => 0)), button("Random", () => this.setAll(normal))],
      ),
      element(
        "main",
        { class: "explorer" },
        element("section", { class: "card" }, this.picture, this.verdict),
        element(
          "section",
          { class: "card sliders" },
          element("h2", {}, "Mode weights, in standard deviations"),
          ...this.rows.map(({ node }) => node),
          this.more,
        ),
      ),
    );
  }

  set(k, weight) {
    this.stop();
    this.weights[k] = weight;
    this.refresh();
  }

  setAll(weightOf) {
    this.stop();
    this.weights = this.weights.map(() => weightOf());
    this.refresh();
  }

  /** Move one mode through its range and back, until it is stopped. */
  sweep(k) {
    const isPlaying = this.playing === k;
    this.stop();
    if (isPlaying) return;
    this.playing = k;
    this.rows[k].play.textContent = "❚❚";
    const phase = Math.asin(this.weights[k] / BOUND);
    const began = performance.now();
    const tick = (now) => {
      this.weights[k] = BOUND * Math.sin(phase + (2 * Math.PI * (now - began)) / SWEEP_MS);
      this.refresh();
      this.timer = requestAnimationFrame(tick);
    };
    this.timer = requestAnimationFrame(tick);
  }

  stop() {
    cancelAnimationFrame(this.timer);
    if (this.playing !== undefined) this.rows[this.playing].play.textContent = "▶";
    this.playing = undefined;
  }

  get points() {
    const beta = this.weights.map((weight, k) => (weight * this.shape.limits[k]) / BOUND);
    return deform(this.shape, beta);
  }

  /** The path of the outline; what a ring's inner loop encloses is not filled. */
  outlineOf(points) {
    const parts = loops(points.length / 2, this.shape.closed);
    return parts.map((loop) => pathOf(points, loop)).join("");
  }

  refresh() {
    const { points } = this;
    const found = certificate(points, this.shape.closed);
    this.wall.setAttribute("d", this.outlineOf(points));
    this.wall.classList.toggle("bad", !found.ok);
    this.folds.replaceChildren(
      ...found.flipped.map((corners) => drawn("path", { d: pathOf(points, corners) })),
    );
    this.dots.replaceChildren(
      ...Array.from({ length: points.length / 2 }, (_, t) =>
        drawn("circle", { cx: points[2 * t], cy: points[2 * t + 1], r: 0.014 }),
      ),
    );
    this.rows.forEach(({ input, output }, k) => {
      input.value = this.weights[k];
      output.value = told(this.weights[k], 2);
    });
    this.verdict.classList.toggle("bad", !found.ok);
    this.verdict.replaceChildren(...verdictParts(found));
  }
}

function verdictParts({ ok, flipped, crossings, thickness }) {
  const facts = [
    `${flipped.length} triangles turned`,
    `${crossings} crossings`,
    `thinnest place ${told(thickness, 3)} of the RMS radius`,
  ];
  return [
    element("strong", {}, ok ? "Whole" : "Folds over itself"),
    ...facts.map((fact) => element("span", {}, fact)),
  ];
}

/** A closed path through some points. */
function pathOf(points, corners) {
  const places = corners.map((t) => `${points[2 * t].toFixed(4)} ${points[2 * t + 1].toFixed(4)}`);
  return `M${places.join("L")}Z`;
}

/** A normal random number within the bound. */
function normal() {
  const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
  const value = radius * Math.cos(2 * Math.PI * Math.random());
  return Math.abs(value) <= BOUND ? value : normal();
}

window.modes = new Modes(JSON.parse(document.querySelector("#data").textContent));
document.body.classList.add("ready");
