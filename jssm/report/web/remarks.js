import { element, told } from "./dom.js";
import { biplane } from "./measures.js";

/** What a reader of a cine's numbers should know, and where they come from. */
export function remarks({ record, refused }) {
  const { about, corrections, warnings } = record;
  const frames = refused.flatMap((is, frame) => (is ? [frame] : []));
  const sentences = [...warnings];
  if (frames.length && !warnings.some((warning) => warning.includes("refused"))) {
    sentences.push(`refused, and in no number: the frames ${frames.join(", ")}`);
  }
  if (corrections.length) {
    sentences.push(`${corrections.length} points were put in place by a reader`);
  }
  return [
    element("h2", {}, "Remarks"),
    sentences.length
      ? element("ul", {}, ...sentences.map((sentence) => element("li", {}, sentence)))
      : element("p", {}, "None."),
    facts({
      Cine: record.id,
      Model: `${about.model_run}, ${about.model_step}`,
      Weights: about.model_weights_sha256,
      jssm: about.jssm_version,
      Fit: about.smoothing_harmonics
        ? `all frames, ${about.smoothing_harmonics} harmonics`
        : "each frame alone",
    }),
    element("p", { class: "fine" }, "For research. Not a medical device."),
  ];
}

/** Volumes of each pair of a 2ch and a 4ch cine of one examination, as they are now. */
export function pairTable(pairs, cines) {
  const rows = pairs.flatMap((pair) => {
    const [two, four] = ["cine_2ch", "cine_4ch"].map(
      (key) => cines.find(({ record }) => record.id === pair[key])?.measures,
    );
    return two && four ? [biplane(two, four)] : [];
  });
  if (!rows.length) return [];
  const cells = ({ ed, es, ejectionFraction }) => [
    `EF ${told(ejectionFraction, 0)} %`,
    `EDV ${told(ed, 0)} ml`,
    `ESV ${told(es, 0)} ml`,
  ];
  const table = rows.map((row) =>
    element("tr", {}, ...cells(row).map((text) => element("td", {}, text))),
  );
  return [element("h3", {}, "Biplane, 2ch and 4ch"), element("table", { class: "pair" }, ...table)];
}

function facts(values) {
  const parts = Object.entries(values).flatMap(([name, value]) => [
    element("dt", {}, name),
    element("dd", {}, value),
  ]);
  return element("dl", {}, ...parts);
}
