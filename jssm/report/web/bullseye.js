import { colourOf, inkOn, SCALES } from "./colours.js";
import { drawn, element, told } from "./dom.js";
import { segmentPeaks, sinceEd } from "./measures.js";

// Counter-clockwise from the right, as the heart is looked at from the apex.
const WALLS = [
  "anterolateral",
  "anterior",
  "anteroseptal",
  "inferoseptal",
  "inferior",
  "inferolateral",
];
const LEVELS = ["apical", "mid", "basal"];
const RADII = [14, 44, 74, 104];
const VIEWS = ["2ch", "3ch", "4ch"];
const QUANTITIES = { strain: "Peak strain", time: "Time to peak" };

/** The 18 segments of the three views, by peak strain or time to peak; grey where that is unknown
 * or not to be trusted. */
export class Bullseye {
  constructor() {
    this.quantity = "strain";
    this.plot = drawn("svg", {
      viewBox: "-172 -128 344 256",
      role: "img",
      "aria-label": "Bull's-eye of the 18 segments",
    });
    this.scale = element("div", { class: "scale" });
    this.buttons = Object.entries(QUANTITIES).map(([name, text]) =>
      element("button", { type: "button", click: () => this.choose(name) }, text),
    );
    this.node = element(
      "section",
      { class: "card bullseye" },
      element("h2", {}, "Segments"),
      element("div", { class: "choices", role: "group" }, ...this.buttons),
      this.plot,
      this.scale,
    );
  }

  choose(quantity) {
    this.quantity = quantity;
    this.draw(this.cines);
  }

  /** @param {object[]} cines of which the first of each view counts */
  draw(cines) {
    this.cines = cines;
    const values = segmentValues(cines, this.quantity);
    const scale = SCALES[this.quantity];
    const decimals = 0;
    this.buttons.forEach((button, k) =>
      button.setAttribute("aria-pressed", Object.keys(QUANTITIES)[k] === this.quantity),
    );
    this.plot.replaceChildren(
      ...WALLS.flatMap((wall, w) =>
        LEVELS.map((level, l) =>
          sector(`${level} ${wall}`, w, l, values.get(`${level} ${wall}`) ?? NaN, scale, decimals),
        ),
      ),
      ...WALLS.map(wallLabel),
    );
    this.scale.replaceChildren(...legendOf(scale));
  }
}

/** The parts of a legend: the ends and the colours between them. */
export function legendOf({ palette, range, unit, title }) {
  return [
    element("span", {}, told(range[0], 0)),
    element("i", { style: `background:linear-gradient(90deg,${palette.join(",")})` }),
    element("span", {}, `${told(range[1], 0)} ${unit}`),
    element("span", { class: "what" }, title),
  ];
}

/** What is known of each segment by its name: percent, or ms after end-diastole. */
function segmentValues(cines, quantity) {
  const values = new Map();
  for (const view of VIEWS) {
    const cine = cines.find(({ record, measures }) => record.view === view && measures);
    if (!cine) continue;
    const { measures, record, count } = cine;
    const clock = {
      ed: measures.ed,
      count,
      periodic: record.about.whole_cycle,
      frameTime: record.frame_time_s ?? NaN,
    };
    segmentPeaks(measures.lines.mid.segments, -1).forEach(({ frame, value }, k) => {
      const shown = quantity === "strain" ? value : 1000 * sinceEd(frame, clock);
      values.set(record.segments[k], cine.isDoubted(k, frame) ? NaN : shown);
    });
  }
  return values;
}

function sector(name, wall, level, value, scale, decimals) {
  const [from, to] = [wall * 60 * (Math.PI / 180), (wall + 1) * 60 * (Math.PI / 180)];
  const [inner, outer] = [RADII[level], RADII[level + 1]];
  const at = (radius, angle) => `${radius * Math.cos(angle)} ${-radius * Math.sin(angle)}`;
  const fill = colourOf(scale, value);
  const [angle, radius] = [(from + to) / 2, (inner + outer) / 2];
  const text = Number.isFinite(value) ? `${told(value, decimals)} ${scale.unit}` : "unknown";
  return drawn(
    "g",
    {},
    drawn("title", {}, `${name}: ${text}`),
    drawn("path", {
      fill,
      d:
        `M${at(inner, from)}A${inner} ${inner} 0 0 0 ${at(inner, to)}` +
        `L${at(outer, to)}A${outer} ${outer} 0 0 1 ${at(outer, from)}Z`,
    }),
    drawn(
      "text",
      {
        x: radius * Math.cos(angle),
        y: -radius * Math.sin(angle) + 3.5,
        style: `fill:${inkOn(fill)}`,
      },
      told(value, decimals),
    ),
  );
}

function wallLabel(name, wall) {
  const angle = ((wall + 0.5) * 60 * Math.PI) / 180;
  const x = 110 * Math.cos(angle);
  const anchor = Math.abs(x) < 1 ? "middle" : x > 0 ? "start" : "end";
  return drawn(
    "text",
    { class: "wall", x, y: -113 * Math.sin(angle) + 3, "text-anchor": anchor },
    name,
  );
}
