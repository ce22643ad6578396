import { Bullseye, legendOf } from "./bullseye.js";
import { Cine } from "./cine.js";
import { SCALES } from "./colours.js";
import { COLOURS, Controls } from "./controls.js";
import { Curves } from "./curves.js";
import { element, pageHeader, told } from "./dom.js";
import { headlines, numberTable, numbersOf } from "./numbers.js";
import { Player, ZOOM_STEP } from "./player.js";
import { pairTable, remarks } from "./remarks.js";

const SUPPOSED_MS = 50; // from frame to frame, where the file does not tell
const NUDGE_PX = 0.5;
const HELP = [
  ["Space", "play"],
  ["← →", "frame"],
  ["wheel", "frame"],
  ["Ctrl+wheel, + −, 0", "zoom"],
  ["O P C", "outline, points, colour"],
  ["drag a point", "correct"],
  ["N B, Alt+arrows", "choose and move a point"],
  ["Ctrl+Z", "undo"],
  ["Ctrl+S", "save"],
];

/** The report of a patient: what is looked at, and what a key or a button does to it. */
class Report {
  constructor({ patient, cines, shapes, pairs }) {
    this.patient = patient;
    this.pairs = pairs;
    this.cines = cines.map((record) => new Cine(record, shapes[record.shape]));
    this.player = new Player({
      grab: (frame) => this.cine.remember(frame),
      drag: (frame, point, place) => this.correct(frame, point, place),
      drop: () => this.refresh(),
      step: (by) => this.step(by),
    });
    this.bullseye = new Bullseye();
    this.curves = new Curves((frame) => this.go(frame));
    this.controls = new Controls({
      go: (frame) => this.go(frame),
      step: (by) => this.step(by),
      zoom: (by) => this.player.zoomBy(by > 0 ? ZOOM_STEP : 1 / ZOOM_STEP),
      fit: () => this.player.reset(),
      toggle: (name) => this.toggle(name),
      togglePlay: () => this.togglePlay(),
      colour: (name) => this.colour(name),
      undo: () => this.undo(),
      save: () => this.save(),
    });
    this.makePage();
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("beforeunload", (event) => {
      if (this.cines.some((cine) => cine.isUnsaved)) event.preventDefault();
    });
  }

  makePage() {
    this.tabs = this.cines.map((cine, k) =>
      element(
        "button",
        { type: "button", role: "tab", click: () => this.choose(k) },
        `${viewName(cine.record.view)}`,
        element("small", {}, cine.count > 1 ? `${cine.count} frames` : "a picture"),
      ),
    );
    this.numbers = element("section", { class: "card numbers" });
    this.top = element("div");
    this.remarks = element("section", { class: "card remarks" });
    this.scale = element("div", { class: "scale" });
    this.badge = element("div", { class: "badge", role: "status" });
    document.body.append(
      pageHeader(
        this.patient,
        "jssm report",
        element("nav", { role: "tablist", "aria-label": "Cines" }, ...this.tabs),
        [this.controls.undo, this.controls.save],
      ),
      element(
        "main",
        {},
        element(
          "section",
          { class: "viewer" },
          element("div", { class: "stage" }, this.player.canvas, this.badge, this.scale),
          this.controls.transport,
          this.controls.options,
        ),
        element(
          "div",
          { class: "measures" },
          this.top,
          element("section", { class: "charts" }, ...this.curves.nodes),
        ),
        element("div", { class: "below" }, this.bullseye.node, this.numbers, this.remarks),
      ),
      element(
        "footer",
        {},
        ...HELP.map(([keys, what]) => element("span", {}, element("kbd", {}, keys), what)),
      ),
    );
  }

  /** Look at another cine. */
  async choose(k) {
    this.pause();
    this.cine = this.cines[k];
    this.tabs.forEach((tab, i) => tab.setAttribute("aria-selected", i === k));
    document.body.classList.toggle("still", this.cine.count < 2);
    const loading = this.player.load(this.cine);
    this.refresh();
    await loading;
  }

  /** Everything that follows from the points of the cine. */
  refresh() {
    const { cine, player } = this;
    const { measures } = cine;
    this.marks = measures ? { ED: measures.ed, ES: measures.es } : {};
    this.curves.draw(cine, this.marks);
    this.controls.show(cine, this.marks, player.show);
    this.top.replaceChildren(headlines(measures));
    this.numbers.replaceChildren(
      element("h2", {}, "Numbers"),
      numberTable(cine),
      ...pairTable(this.pairs, this.cines),
    );
    this.bullseye.draw([cine, ...this.cines.filter((other) => other !== cine)]);
    this.remarks.replaceChildren(...remarks(cine));
    this.tabs.forEach((tab, k) => tab.classList.toggle("corrected", this.cines[k].isCorrected));
    const { colour } = player.show;
    this.scale.replaceChildren(...(colour ? legendOf(SCALES[colour]) : []));
    this.go(player.frame);
  }

  /** Show a frame, here and in the curves. */
  go(frame) {
    const { cine, player, controls } = this;
    player.frame = Math.min(cine.count - 1, Math.max(0, frame));
    player.draw();
    controls.slider.value = player.frame;
    controls.counter.value = this.whichFrame();
    if (cine.measures) this.curves.show(player.frame);
    this.badge.textContent = this.whatOfFrame();
  }

  /** Its number, time and name. */
  whichFrame() {
    const { frame } = this.player;
    const name = Object.keys(this.marks).find((key) => this.marks[key] === frame);
    const time = this.cine.record.time_s[frame];
    const parts = [`${frame} / ${this.cine.count - 1}`];
    if (time !== null) parts.push(`${told(1000 * time, 0)} ms`);
    return [...parts, ...(name ? [name] : [])].join(" · ");
  }

  /** Whether it is to be trusted. */
  whatOfFrame() {
    const { cine } = this;
    const { frame } = this.player;
    const confidence = cine.record.confidence?.[frame];
    const states = {
      refused: !cine.isUsed(frame),
      [`confidence ${told(confidence, 2)}`]: Number.isFinite(confidence),
      corrected: cine.pins[frame].size > 0,
      "the wall folds": cine.folds(frame),
    };
    return Object.keys(states)
      .filter((state) => states[state])
      .join(" · ");
  }

  step(by) {
    this.pause();
    this.go((this.player.frame + by + this.cine.count) % this.cine.count);
  }

  togglePlay() {
    if (this.timer) this.pause();
    else this.run();
  }

  run() {
    if (this.cine.count < 2) return;
    const step = 1000 * (this.cine.record.frame_time_s ?? SUPPOSED_MS / 1000);
    this.controls.playing(true);
    let last = performance.now();
    const tick = (now) => {
      const passed = Math.floor(((now - last) * this.controls.speed.value) / step);
      if (passed > 0) {
        last += (passed * step) / this.controls.speed.value;
        this.go((this.player.frame + passed) % this.cine.count);
      }
      this.timer = requestAnimationFrame(tick);
    };
    this.timer = requestAnimationFrame(tick);
  }

  pause() {
    cancelAnimationFrame(this.timer);
    this.timer = null;
    this.controls.playing(false);
  }

  toggle(name) {
    this.player.show[name] = !this.player.show[name];
    this.refresh();
  }

  colour(name) {
    this.player.show.colour = name;
    this.controls.colour.value = name;
    this.refresh();
  }

  correct(frame, point, place) {
    this.pause();
    this.cine.pin(frame, point, place);
    this.cine.isUnsaved = true;
    this.refresh();
  }

  undo() {
    const frame = this.cine.undo();
    if (frame !== null) this.player.frame = frame;
    this.refresh();
  }

  save() {
    if (!this.cine.isCorrected) return;
    const text = JSON.stringify(this.cine.saved());
    const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    element("a", { href: url, download: `${this.cine.record.id}_points.json` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
    this.cine.isUnsaved = false;
  }

  /** Choose the next point, or one before, for the keys that move it. */
  select(by) {
    const count = this.cine.points[this.player.frame].length / 2;
    this.player.selected = ((this.player.selected ?? (by > 0 ? -1 : 0)) + by + count) % count;
    this.player.draw();
  }

  nudge(x, y) {
    const point = this.player.selected;
    if (point === null) return;
    const points = this.cine.points[this.player.frame];
    const from = this.cine.pins[this.player.frame].get(point) ?? [
      points[2 * point],
      points[2 * point + 1],
    ];
    this.cine.remember(this.player.frame);
    this.correct(this.player.frame, point, [from[0] + NUDGE_PX * x, from[1] + NUDGE_PX * y]);
  }

  key(event) {
    if (event.target.matches("select")) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const arrow = arrows[event.key];
    const key = event.key.toLowerCase();
    const action =
      event.ctrlKey || event.metaKey
        ? { z: () => this.undo(), s: () => this.save() }[key]
        : event.altKey
          ? arrow && (() => this.nudge(...arrow))
          : arrow && arrow[0]
            ? () => this.step(arrow[0])
            : {
                " ": () => this.togglePlay(),
                o: () => this.toggle("outline"),
                p: () => this.toggle("points"),
                c: () => this.nextColour(),
                n: () => this.select(1),
                b: () => this.select(-1),
                "+": () => this.player.zoomBy(ZOOM_STEP),
                "-": () => this.player.zoomBy(1 / ZOOM_STEP),
                0: () => this.player.reset(),
              }[key];
    if (!action || (key === " " && event.target.matches("button"))) return;
    event.preventDefault();
    action();
  }

  nextColour() {
    const next = COLOURS.indexOf(this.player.show.colour) + 1;
    this.colour(COLOURS[next % COLOURS.length]);
  }

  /** The numbers of the cine by their keys in summary.json; for the console and for tests. */
  numbersNow() {
    return numbersOf(this.cine.measures);
  }
}

function viewName(view) {
  return { "2ch": "2-chamber", "3ch": "3-chamber", "4ch": "4-chamber" }[view] ?? "other view";
}

window.report = new Report(JSON.parse(document.querySelector("#data").textContent));
window.report.choose(0).then(() => document.body.classList.add("ready"));
