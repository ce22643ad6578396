// Palettes that colour-blind eyes can tell apart: Okabe and Ito's, viridis, and blue to orange.

export const LINE_COLOURS = { endo: "#0072b2", mid: "#1c1c1c", epi: "#d55e00" };
export const SEGMENT_COLOURS = ["#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#b5568f"];
const VIRIDIS = ["#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725"];
const DIVERGING = ["#08519c", "#4292c6", "#9ecae1", "#f2f0eb", "#fdbe85", "#f16913", "#a63603"];

/** Kinds of colour: what they show, their palette, their range. */
export const SCALES = {
  strain: {
    title: "Longitudinal strain, mid-wall",
    unit: "%",
    palette: DIVERGING,
    range: [-30, 30],
  },
  thickness: { title: "Wall thickness", unit: "mm", palette: VIRIDIS, range: [4, 18] },
  uncertainty: {
    title: "Standard deviation of the points",
    unit: "px",
    palette: VIRIDIS,
    range: [0, 6],
  },
  time: { title: "Time to peak strain", unit: "ms", palette: VIRIDIS, range: [150, 500] },
};

/** The colour of a value on a scale, grey where it is unknown. */
export function colourOf(scale, value) {
  if (!Number.isFinite(value)) return "#c9ccd1";
  const { palette, range } = scale;
  const share = Math.min(1, Math.max(0, (value - range[0]) / (range[1] - range[0])));
  const at = share * (palette.length - 1);
  const low = Math.min(palette.length - 2, Math.floor(at));
  return blend(palette[low], palette[low + 1], at - low);
}

/** Black or white, whichever is read more easily on a colour. */
export function inkOn(colour) {
  const [red, green, blue] = channels(colour).map((value) => (value / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.25 ? "#16191d" : "#ffffff";
}

function blend(from, to, share) {
  const [a, b] = [channels(from), channels(to)];
  const mixed = a.map((value, i) => Math.round(value + share * (b[i] - value)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

function channels(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}
