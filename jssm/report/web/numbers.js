import { element, told } from "./dom.js";

// The rows of the table: the key in summary.json, what it is, its unit and decimals, and its value
// in the measures.
const ROWS = [
  ["ef_percent", "Ejection fraction", "%", 0, (m) => m.ejectionFraction],
  ["ed_volume_ml", "End-diastolic volume", "ml", 0, (m) => m.volume[m.ed]],
  ["es_volume_ml", "End-systolic volume", "ml", 0, (m) => m.volume[m.es]],
  ["gls_endo_percent", "Peak strain, endocardium", "%", 1, (m) => m.lines.endo.peak],
  ["gls_mid_percent", "Peak strain, mid-wall", "%", 1, (m) => m.lines.mid.peak],
  ["gls_epi_percent", "Peak strain, epicardium", "%", 1, (m) => m.lines.epi.peak],
  ["gls_mid_time_to_peak_s", "Time to peak, mid-wall", "s", 3, (m) => m.lines.mid.time],
  ["radial_strain_peak_percent", "Peak radial strain", "%", 1, (m) => m.radialPeak],
  ["ed_wall_thickness_mm", "Thickness, end-diastole", "mm", 1, (m) => m.meanThickness[m.ed]],
  ["es_wall_thickness_mm", "Thickness, end-systole", "mm", 1, (m) => m.meanThickness[m.es]],
  ["ed_long_axis_mm", "Long axis, end-diastole", "mm", 0, (m) => m.length[m.ed]],
  ["es_long_axis_mm", "Long axis, end-systole", "mm", 0, (m) => m.length[m.es]],
  ["ed_frame", "End-diastole", "frame", 0, (m) => m.ed],
  ["es_frame", "End-systole", "frame", 0, (m) => m.es],
  ["end_systole_s", "Time to end-systole", "s", 3, (m) => m.endSystole],
];
const HEADLINES = {
  ef_percent: "Ejection fraction",
  ed_volume_ml: "Volume, diastole",
  es_volume_ml: "Volume, systole",
  gls_mid_percent: "Strain, mid-wall",
};

/** All numbers of a cine's measures by their keys in summary.json. */
export function numbersOf(measures) {
  return Object.fromEntries(ROWS.map(([key, , , , of]) => [key, measures ? of(measures) : NaN]));
}

/** The few numbers that are read first, large. */
export function headlines(measures) {
  const values = numbersOf(measures);
  const rows = ROWS.filter(([key]) => key in HEADLINES);
  const tiles = rows.map(([key, , unit, decimals]) =>
    element(
      "div",
      { class: "tile" },
      element("span", {}, HEADLINES[key]),
      element("strong", {}, told(values[key], decimals), element("small", {}, unit)),
    ),
  );
  return element("div", { class: "tiles" }, ...tiles);
}

/** The table of numbers; those before a correction stand beside them. */
export function numberTable({ measures, before, isCorrected, record }) {
  const [values, old] = [numbersOf(measures), numbersOf(before)];
  const rows = ROWS.map(([key, name, unit, decimals]) => {
    const spread = isCorrected ? NaN : record.summary[`${key}_sd`];
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      element("td", {}, told(values[key], decimals)),
      element(
        "td",
        { class: "spread" },
        Number.isFinite(spread) ? `± ${told(spread, decimals)}` : "",
      ),
      isCorrected ? element("td", { class: "before" }, told(old[key], decimals)) : null,
      element("td", { class: "unit" }, unit),
    );
  });
  const head = isCorrected
    ? element(
        "thead",
        {},
        element(
          "tr",
          {},
          element("td"),
          element("th", {}, "corrected"),
          element("td"),
          element("th", {}, "before"),
          element("td"),
        ),
      )
    : null;
  return element("table", {}, head, element("tbody", {}, ...rows));
}
