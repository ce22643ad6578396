import { Chart } from "./chart.js";
import { LINE_COLOURS, SEGMENT_COLOURS } from "./colours.js";

const LINE_NAMES = { endo: "endocardium", mid: "mid-wall", epi: "epicardium" };
const CHARTS = {
  lines: { title: "Longitudinal strain (%)", decimals: 1 },
  segments: { title: "Strain of the segments, mid-wall (%)", decimals: 1 },
  thickness: { title: "Wall thickness (mm)", decimals: 1 },
  volume: { title: "Volume of the cavity (ml)", decimals: 0 },
};

/** The charts of a cine's strain, thickness and volume, with one cursor. */
export class Curves {
  constructor(onFrame) {
    this.charts = Object.entries(CHARTS).map(([name, about]) => [name, new Chart(about, onFrame)]);
    this.nodes = this.charts.map(([, chart]) => chart.node);
  }

  /** Draw what is known of a cine, with frames by name as marks. */
  draw(cine, marks) {
    const curves = cine.measures ? curvesOf(cine) : {};
    for (const [name, chart] of this.charts) {
      const isKnown = (curves[name] ?? []).some(({ values }) => values.some(Number.isFinite));
      chart.node.hidden = !isKnown;
      if (isKnown) chart.draw(curves[name], cine.clock, marks);
    }
  }

  show(frame) {
    for (const [, chart] of this.charts) if (!chart.node.hidden) chart.show(frame);
  }
}

function curvesOf({ measures, record }) {
  const ofSegments = (rows) =>
    record.segments.map((name, k) => ({
      name,
      colour: SEGMENT_COLOURS[k],
      values: rows.map((row) => row[k]),
      isThin: true,
    }));
  return {
    lines: Object.entries(measures.lines).map(([name, line]) => ({
      name: LINE_NAMES[name],
      colour: LINE_COLOURS[name],
      values: line.strain,
    })),
    segments: ofSegments(measures.lines.mid.segments),
    thickness: ofSegments(measures.segmentThickness),
    volume: [{ name: "cavity", colour: LINE_COLOURS.endo, values: measures.volume }],
  };
}
