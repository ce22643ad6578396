import { element } from "./dom.js";

const SPEEDS = [0.25, 0.5, 1, 2];
export const COLOURS = ["", "strain", "thickness", "uncertainty"];

/** What a reader presses below the player; each calls an action of the same name. */
export class Controls {
  constructor(actions) {
    this.play = button("▶", "Play (space)", actions.togglePlay, { class: "play" });
    this.slider = element("input", {
      type: "range",
      min: 0,
      "aria-label": "Frame",
      input: () => actions.go(Number(this.slider.value)),
    });
    this.ticks = element("div", { class: "ticks", "aria-hidden": "true" });
    this.counter = element("output", { class: "counter" });
    this.speed = choice("Speed", SPEEDS, (speed) => `${speed}×`, null);
    this.speed.value = 1;
    this.colour = choice(
      "Colour the wall by (C)",
      COLOURS,
      (name) => name || "no colour",
      actions.colour,
    );
    this.toggles = {
      outline: button("Outline", "Outline (O)", () => actions.toggle("outline")),
      points: button("Points", "Points (P)", () => actions.toggle("points")),
    };
    this.undo = button("Undo", "Undo the last correction (Ctrl+Z)", actions.undo);
    this.save = button("Save", "Save the corrected points (Ctrl+S)", actions.save, {
      class: "primary",
    });
    this.transport = element(
      "div",
      { class: "bar transport" },
      button("‹", "Frame before (←)", () => actions.step(-1)),
      this.play,
      button("›", "Next frame (→)", () => actions.step(1)),
      element("div", { class: "track" }, this.slider, this.ticks),
      this.counter,
      this.speed,
    );
    this.options = element(
      "div",
      { class: "bar" },
      this.toggles.outline,
      this.toggles.points,
      this.colour,
      element("span", { class: "space" }),
      button("−", "Zoom out (−)", () => actions.zoom(-1)),
      button("+", "Zoom in (+)", () => actions.zoom(1)),
      button("Fit", "The heart or the whole image (0)", actions.fit),
    );
  }

  /** Show how things stand with a cine. */
  show(cine, marks, { outline, points }) {
    this.slider.max = cine.count - 1;
    this.undo.disabled = cine.past.length === 0;
    this.save.disabled = !cine.isCorrected;
    this.toggles.outline.setAttribute("aria-pressed", outline);
    this.toggles.points.setAttribute("aria-pressed", points);
    this.ticks.replaceChildren(...trackMarks(cine, marks));
  }

  playing(isPlaying) {
    this.play.textContent = isPlaying ? "❚❚" : "▶";
    this.play.setAttribute("aria-label", isPlaying ? "Pause (space)" : "Play (space)");
  }
}

function button(text, title, click, more = {}) {
  const attributes = { type: "button", title, "aria-label": title, click: () => click(), ...more };
  return element("button", attributes, text);
}

function choice(title, values, nameOf, chosen) {
  const options = values.map((value) => element("option", { value }, nameOf(value)));
  const change = (event) => chosen?.(event.target.value);
  return element("select", { title, "aria-label": title, change }, ...options);
}

/** Where in time end-diastole and end-systole lie, and frames that were refused or corrected. */
function trackMarks({ count, refused, pins }, marks) {
  const mark = (frame, kind, title) => {
    const style = `left:${(100 * frame) / Math.max(1, count - 1)}%`;
    return element("i", { class: kind, title, style });
  };
  const where = (flags, kind) =>
    flags.flatMap((is, frame) => (is ? [mark(frame, kind, `frame ${frame}: ${kind}`)] : []));
  return [
    ...Object.entries(marks).map(([name, frame]) => mark(frame, "time", name)),
    ...where(refused, "refused"),
    ...where(
      pins.map((moved) => moved.size > 0),
      "corrected",
    ),
  ];
}
