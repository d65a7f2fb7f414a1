// Evidence of the model: from its grid to the picture (core/preprocessing.py, Letterbox.to_scan_grid) and to colours
// (core/overlay.py, blend).

const STRENGTH_STEPS = 16384;
const CONTOUR_SHARES = [0.25, 0.5, 0.75];
const CONTOUR_GRID = 128;

class HeatMaps {
  constructor({ header, section }, picture) {
    this.header = header;
    this.picture = picture;
    this.all = section("maps", "f4");
    this.scales = { for: section("scale_for"), signed: section("scale_signed") };
  }

  get frame() {
    return this.header.frame;
  }

  // The part of the picture that the model sees, [left, top, right, bottom] in its pixels; null where that is all of it.
  get seen() {
    const { letterbox: box } = this.header;
    const { rows, columns } = this.picture;
    const [sx, sy] = [columns / box.width, rows / box.height];
    const [left, top] = [Math.max(0, -box.left) * sx, Math.max(0, -box.top) * sy];
    const [right, bottom] = [Math.min(columns, (box.size - box.left) * sx), Math.min(rows, (box.size - box.top) * sy)];
    return left || top || right < columns || bottom < rows ? [left, top, right, bottom] : null;
  }

  index(code) {
    return this.header.labels.findIndex((label) => label.code === code);
  }

  map(code) {
    const size = this.header.rows * this.header.columns;
    const start = this.index(code) * size;
    return start < 0 ? null : this.all.subarray(start, start + size);
  }

  // Positions on the picture -> cells of the grid: every point takes the value at its own place in the model's square;
  // NaN outside of the picture, and where the model does not see it.
  #cells(positions, vertical) {
    const { letterbox: box, rows, columns } = this.header;
    const [content, start, cells, extent] = vertical
      ? [box.height, box.top, rows, this.picture.rows]
      : [box.width, box.left, columns, this.picture.columns];
    return Float64Array.from(positions, (position) => {
      const inSquare = (position * content) / extent + start;
      const seen = position >= 0 && position < extent && inSquare >= 0 && inSquare <= box.size;
      return seen ? clamp((inSquare * cells) / box.size - 0.5, 0, cells - 1) : NaN;
    });
  }

  // Evidence at every crossing of the positions, row by row; ``transposed`` gives it column by column.
  evidence(map, u, v, transposed = false) {
    const { rows, columns } = this.header;
    const [x, y] = [mixTaps(this.#cells(u, false), columns), mixTaps(this.#cells(v, true), rows)];
    const out = new Float32Array(u.length * v.length);
    if (transposed) mix(map, y, x, columns, 1, out);
    else mix(map, x, y, 1, columns, out);
    return out;
  }

  at(map, [u, v]) {
    return this.evidence(map, [u], [v])[0];
  }

  // Strength for each screen pixel, in steps from 0 (-1) to 2 * STRENGTH_STEPS (+1).
  onScreen(map, place, out) {
    const evidence = this.evidence(map, place.u, place.v, place.swapped);
    const scale = STRENGTH_STEPS / this.header.limit;
    for (let i = 0; i < out.length; i++) {
      const strength = evidence[i] === evidence[i] ? evidence[i] * scale : 0;
      out[i] = clamp(strength, -STRENGTH_STEPS, STRENGTH_STEPS) + STRENGTH_STEPS + 0.5;
    }
  }
}

function mixTaps(cells, count) {
  return {
    low: Int32Array.from(cells, (cell) => (cell === cell ? Math.floor(cell) : -1)),
    high: Int32Array.from(cells, (cell) => Math.min(Math.floor(cell) + 1, count - 1)),
    share: Float32Array.from(cells, (cell) => cell - Math.floor(cell)),
  };
}

// For each step of strength: how much of the picture stays, and the colour to add.
class HeatTable {
  constructor() {
    const size = 2 * STRENGTH_STEPS + 1;
    this.keep = new Float32Array(size);
    this.add = [0, 1, 2].map(() => new Float32Array(size));
  }

  set(scales, { opacity, threshold, signed }) {
    const colours = signed ? scales.signed : scales.for;
    for (let step = 0; step < this.keep.length; step++) {
      const strength = step / STRENGTH_STEPS - 1;
      const amount = signed ? Math.abs(strength) : Math.max(strength, 0);
      const alpha = amount > 0 && amount >= threshold ? opacity * Math.sqrt(amount) : 0;
      const entry = 3 * Math.round(255 * (signed ? (strength + 1) / 2 : amount));
      this.keep[step] = 1 - alpha;
      for (let channel = 0; channel < 3; channel++) this.add[channel][step] = colours[entry + channel] * alpha;
    }
  }
}

function colourAt(colours, share) {
  const entry = 3 * Math.round(255 * clamp(share, 0, 1));
  const [red, green, blue] = colours.subarray(entry, entry + 3);
  return { colour: `rgb(${red}, ${green}, ${blue})`, light: 0.3 * red + 0.6 * green + 0.1 * blue > 110 };
}

// Lines of equal evidence in the picture's coordinates: [{strength, lines: [u0, v0, u1, v1, ...]}].
function contours(maps, map, { signed, threshold }) {
  const { picture, header } = maps;
  // Just inside the far edge, beyond which there is no evidence.
  const points = (extent) =>
    Float64Array.from({ length: CONTOUR_GRID + 1 }, (_, i) => (i * extent * 0.999999) / CONTOUR_GRID);
  const [u, v] = [points(picture.columns), points(picture.rows)];
  const evidence = maps.evidence(map, u, v);
  const strengths = signed ? [...CONTOUR_SHARES, ...CONTOUR_SHARES.map((share) => -share)] : CONTOUR_SHARES;
  return strengths.filter((strength) => Math.abs(strength) >= threshold)
    .map((strength) => ({ strength, lines: isoLines(evidence, u, v, strength * header.limit) }));
}

// Marching squares: in each cell the line runs between the edges where the values pass ``value``.
function isoLines(values, u, v, value) {
  const lines = [];
  const width = u.length;
  for (let row = 0; row + 1 < v.length; row++) {
    for (let column = 0; column + 1 < width; column++) {
      const i = row * width + column;
      const corners = [values[i], values[i + 1], values[i + 1 + width], values[i + width]];
      const above = corners.filter((corner) => corner > value).length;
      if (above === 0 || above === 4) continue;
      const [left, right, top, bottom] = [u[column], u[column + 1], v[row], v[row + 1]];
      const places = [[left, top], [right, top], [right, bottom], [left, bottom]];
      lines.push(...crossings(corners, places, value));
    }
  }
  return lines;
}

function crossings(corners, places, value) {
  const found = [];
  for (let side = 0; side < 4; side++) {
    const next = (side + 1) % 4;
    if (corners[side] > value === corners[next] > value) continue;
    const share = (value - corners[side]) / (corners[next] - corners[side]);
    found.push(...places[side].map((start, axis) => start + (places[next][axis] - start) * share));
  }
  return found;
}
