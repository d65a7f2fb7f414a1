// The heatmap in words, for those who do not see it and for those who want to be sure.

const THIRDS = ["first", "middle", "last"];

// Positive evidence in thirds by thirds of the picture: the strongest one and its share of all.
function strongestNinth(maps, map) {
  const steps = 30;
  const centres = (extent) => Float64Array.from({ length: 3 * steps }, (_, i) => ((i + 0.5) * extent) / (3 * steps));
  const evidence = maps.evidence(map, centres(maps.picture.columns), centres(maps.picture.rows));
  const sums = new Float64Array(9);
  evidence.forEach((value, i) => {
    const [row, column] = [Math.floor(i / (3 * steps)), i % (3 * steps)];
    sums[3 * Math.floor(row / steps) + Math.floor(column / steps)] += Math.max(value, 0);
  });
  const best = sums.indexOf(Math.max(...sums));
  const total = sums.reduce((sum, part) => sum + part, 0);
  return { row: Math.floor(best / 3), column: best % 3, share: total > 0 ? sums[best] / total : 0 };
}

// "right lower zone" by the patient's own sides where the file tells them, else by the sides of what is shown.
function placeInWords(viewer, { row, column }) {
  const { orientation } = viewer.header;
  if (!orientation) return shownPlace(viewer, row, column);
  const words = [[orientation[0], column], [orientation[1], row]].map(([letters, third]) => {
    const towards = third === 2 ? letters[0] : opposite(letters[0]);
    const axis = "LR".includes(towards) ? "sides" : "HF".includes(towards) ? "height" : "depth";
    return { axis, word: third === 1 ? viewer.say(`viewer.middle_${axis}`) : viewer.say(`viewer.towards_${towards}`) };
  });
  const order = ["sides", "height", "depth"];
  words.sort((one, other) => order.indexOf(one.axis) - order.indexOf(other.axis));
  return viewer.say("viewer.place_patient", { place: [...new Set(words.map(({ word }) => word))].join(" ") });
}

function shownPlace(viewer, row, column) {
  const [a, b, c, d] = viewer.view.turn;
  const [x, y] = [column - 1, row - 1];
  const horizontal = THIRDS[a * x + b * y + 1];
  const vertical = THIRDS[c * x + d * y + 1];
  if (horizontal === "middle" && vertical === "middle") return viewer.say("viewer.place_centre");
  return viewer.say("viewer.place_picture", {
    vertical: viewer.say(`viewer.vertical_${vertical}`), horizontal: viewer.say(`viewer.horizontal_${horizontal}`),
  });
}

function heatInWords(viewer) {
  const label = viewer.label();
  if (!viewer.maps || !label) return [viewer.say("viewer.alt_plain")];
  if (!viewer.heatIsHere()) return [viewer.say("viewer.no_heat_here")];
  // The outline's own line says already that there is none.
  if (viewer.outlines && !viewer.outlines.of(label.code)?.size) return [];
  const lines = [label.outcome ?? strongestInWords(viewer, label)];
  if (label.bias !== null && label.bias !== undefined) {
    lines.push(viewer.say("viewer.sum", { bias: short(label.bias), whole: short(label.whole), unit: viewer.maps.header.unit }));
  }
  return lines;
}

function strongestInWords(viewer, label) {
  const ninth = strongestNinth(viewer.maps, viewer.maps.map(label.code));
  if (ninth.share === 0) return viewer.say("viewer.heat_none", { label: label.words });
  return viewer.say("viewer.heat_place", {
    label: label.words, place: placeInWords(viewer, ninth), share: Math.round(100 * ninth.share),
  });
}

// Place, value and evidence under the pointer; empty outside of the picture.
function probeInWords(viewer) {
  const [u, v] = viewer.probed ?? [-1, -1];
  const [x, y] = [Math.floor(u), Math.floor(v)];
  const { columns, rows } = viewer.header;
  if (x < 0 || y < 0 || x >= columns || y >= rows) return "";
  return [viewer.say("viewer.probe_place", { x, y }), valueInWords(viewer, y * columns + x), evidenceInWords(viewer, x, y)]
    .filter(Boolean).join("\n");
}

function valueInWords({ header, frames, view, tones }, pixel) {
  const stored = frames.full(view.frame)?.subarray(pixel * header.samples, (pixel + 1) * header.samples);
  if (!stored) return "";
  if (header.samples === 3) return `RGB ${[...stored].join(", ")}`;
  return `${short(tones.value(stored[0]))} ${header.unit ?? ""}`.trim();
}

function evidenceInWords(viewer, x, y) {
  return [probabilityInWords(viewer, x, y), heatValueInWords(viewer, x, y)].filter(Boolean).join("\n");
}

function probabilityInWords(viewer, x, y) {
  if (!viewer.outlines || !viewer.heatIsHere()) return "";
  const value = viewer.outlines.at(viewer.view.label, [x + 0.5, y + 0.5]);
  return viewer.say("viewer.probe_probability", { value: (value || 0).toFixed(2) });
}

function heatValueInWords(viewer, x, y) {
  if (!viewer.heatShown()) return "";
  const value = viewer.maps.at(viewer.maps.map(viewer.view.label), [x + 0.5, y + 0.5]);
  const signed = `${value >= 0 ? "+" : "−"}${Math.abs(value).toPrecision(2)}`;
  return viewer.say("viewer.probe_evidence", { value: signed, unit: viewer.maps.header.unit });
}
