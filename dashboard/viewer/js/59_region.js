// A place that the reader asks about: painted or boxed on a coarse grid over the picture, sent to Python when a stroke ends.

const REGION_TOOLS = ["brush", "box"];
// Cells along the longer side; smaller pictures are marked pixel by pixel.
const REGION_SIDE = 128;
const REGION_COLOUR = "#5cb3e4";
// ABGR, as canvases hold it in memory: the same, half transparent.
const REGION_TINT = 0x80e4b35c;
// The brush's width in shares of the picture's longer side.
const [LEAST_BRUSH, MOST_BRUSH] = [0.01, 0.4];

class Region {
  constructor(viewer) {
    this.viewer = viewer;
    const { rows, columns } = viewer.header;
    const scale = Math.min(1, REGION_SIDE / Math.max(rows, columns));
    [this.rows, this.columns] = [rows, columns].map((side) => Math.max(1, Math.round(side * scale)));
    this.before = null;
    this.corner = null;
  }

  // {cells, number} of the frame in front; null where nothing is marked.
  here() {
    const { region, frame } = this.viewer.view;
    return region?.frame === frame ? region : null;
  }

  begin() {
    const held = this.here();
    this.before = held;
    const cells = held ? held.cells.slice() : new Uint8Array(this.rows * this.columns);
    this.viewer.view.region = { frame: this.viewer.view.frame, cells, number: 0 };
  }

  // A stroke of the brush between two points of the picture.
  strokeTo(from, to) {
    const { header } = this.viewer;
    const [across, down] = [header.columns / this.columns, header.rows / this.rows];
    const aspect = aspectOf(header.spacing);
    const radius = this.brush() / 2;
    this.#mark((u, v) => {
      const far = distanceTo([u * across, v * down], from, to, aspect);
      return far <= radius || isCell(to, u, v, across, down);
    });
  }

  // Between two corners, anew at every move.
  boxTo(from, to) {
    const { header } = this.viewer;
    const [across, down] = [header.columns / this.columns, header.rows / this.rows];
    const [left, right] = [from[0], to[0]].map((u) => u / across).sort((a, b) => a - b);
    const [top, bottom] = [from[1], to[1]].map((v) => v / down).sort((a, b) => a - b);
    const { cells } = this.viewer.view.region;
    cells.set(this.before?.cells ?? new Uint8Array(cells.length));
    this.#mark((u, v) => u >= left && u <= right && v >= top && v <= bottom);
  }

  #mark(isIn) {
    const { cells } = this.viewer.view.region;
    for (let row = 0, i = 0; row < this.rows; row++) {
      for (let column = 0; column < this.columns; column++, i++) if (isIn(column + 0.5, row + 0.5)) cells[i] = 1;
    }
    this.drawn = null;
    this.viewer.change("marks", "controls");
  }

  end() {
    this.before = null;
    if (!this.here()?.cells.some(Boolean)) return this.clear();
    this.here().number = Date.now();
    this.send();
  }

  cancel() {
    this.viewer.view.region = this.before;
    Object.assign(this, { before: null, corner: null, drawn: null });
    this.viewer.change("marks", "controls");
  }

  clear() {
    Object.assign(this, { before: null, corner: null, drawn: null });
    this.viewer.view.region = null;
    this.send();
  }

  // To the panel that asks the network, if it is open.
  send() {
    const held = this.here();
    const { id } = this.viewer.header;
    const value = held && {
      frame: held.frame, number: held.number, rows: this.rows, columns: this.columns, runs: runsOf(held.cells),
    };
    shared.askers.get(id)?.setStateValue("region", value);
    this.viewer.change("marks", "controls");
  }

  // The brush's width in picture's pixels.
  brush() {
    const { header, look } = this.viewer;
    return look.brush * Math.max(header.columns, header.rows);
  }

  // --- by keyboard: Enter stamps with the brush, or sets the corners of a box

  place(at) {
    if (this.viewer.tool() === "brush") {
      this.begin();
      this.strokeTo(at, at);
      this.end();
    } else if (this.corner) {
      this.corner = null;
      this.end();
    } else {
      this.corner = at;
      this.begin();
      this.boxTo(at, at);
    }
  }

  follow(at) {
    if (this.corner) this.boxTo(this.corner, at);
  }

  leave() {
    if (this.corner) this.cancel();
  }
}

// Pixels from a point to a line, along the picture's shorter pixel sides.
function distanceTo([u, v], [u0, v0], [u1, v1], [across, down]) {
  const [x, y] = [(u1 - u0) * across, (v1 - v0) * down];
  const [p, q] = [(u - u0) * across, (v - v0) * down];
  const share = clamp((p * x + q * y) / Math.max(x * x + y * y, 1e-9), 0, 1);
  return Math.hypot(p - share * x, q - share * y);
}

const isCell = (to, u, v, across, down) => Math.floor(to[0] / across) === u - 0.5 && Math.floor(to[1] / down) === v - 0.5;

// Marked cells, row by row, as [first, count, first, count, ...].
function runsOf(cells) {
  const runs = [];
  for (let i = 0; i < cells.length; i++) {
    if (!cells[i]) continue;
    if (cells[i - 1]) runs[runs.length - 1] += 1;
    else runs.push(i, 1);
  }
  return runs;
}

function drawRegion(viewer, context, place, ratio) {
  const { region } = viewer;
  const held = region.here();
  if (held) {
    const [a, b, c, d] = place.matrix;
    context.save();
    context.imageSmoothingEnabled = false;
    context.setTransform(a, c, b, d, ...place.shift);
    context.drawImage((region.drawn ??= tinted(region, held.cells)), 0, 0, place.columns, place.rows);
    context.restore();
  }
  if (viewer.tool() === "brush" && viewer.probed) drawBrush(viewer, context, place, ratio);
}

function tinted({ rows, columns }, cells) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  new Uint32Array(image.data.buffer).set(Uint32Array.from(cells, (cell) => (cell ? REGION_TINT : 0)));
  context.putImageData(image, 0, 0);
  return canvas;
}

function drawBrush(viewer, context, place, ratio) {
  context.beginPath();
  context.arc(...place.toScreen(viewer.probed), Math.max(2, (viewer.region.brush() / 2) * place.zoom), 0, 2 * Math.PI);
  outlined(context, REGION_COLOUR, 1.5 * ratio);
}

// What became of the answer without the place, as Python said it.
function askedInWords(viewer) {
  const held = viewer.region.here();
  if (!held?.number) return viewer.say("viewer.ask_hint");
  const asked = viewer.asked?.header;
  const waiting = shared.askers.get(viewer.header.id)?.unanswered ? "viewer.ask_hint" : "viewer.asking";
  return asked?.number === held.number ? asked.text : viewer.say(waiting);
}
