// Where a picture lies on a screen: zoom, shift, quarter turns and flips. Points of the picture count edges: pixel
// (0, 0) spans 0..1 in both directions.

const TURNS = {
  right: [0, -1, 1, 0], left: [0, 1, -1, 0], horizontal: [-1, 0, 0, 1], vertical: [1, 0, 0, -1],
};
const OPPOSITE = { L: "R", R: "L", A: "P", P: "A", H: "F", F: "H" };

const combined = ([a, b, c, d], [e, f, g, h]) => [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h];

// Screen pixels along a column and a row for one step of zoom: pixels that are not square are shown as they are in mm.
function aspectOf(spacing) {
  if (!spacing) return [1, 1];
  const least = Math.min(...spacing);
  return [spacing[1] / least, spacing[0] / least];
}

function fitZoom({ rows, columns, aspect, turn }, width, height) {
  const [across, down] = [columns * aspect[0], rows * aspect[1]];
  return turn[0] ? Math.min(width / across, height / down) : Math.min(width / down, height / across);
}

class Placement {
  // ``picture``: rows, columns, aspect, turn; ``zoom``: screen pixels for a picture's pixel; ``centre``: the picture's
  // point in the middle of the screen.
  constructor(picture, zoom, centre, width, height) {
    Object.assign(this, { rows: picture.rows, columns: picture.columns, turn: picture.turn, zoom, width, height });
    const [a, b, c, d] = picture.turn;
    this.scale = [zoom * picture.aspect[0], zoom * picture.aspect[1]];
    this.matrix = [a * this.scale[0], b * this.scale[1], c * this.scale[0], d * this.scale[1]];
    this.swapped = a === 0;
    // Whole screen pixels: at 1:1 every picture's pixel falls on exactly one of the screen's.
    this.shift = [
      Math.round(width / 2 - this.matrix[0] * centre[0] - this.matrix[1] * centre[1]),
      Math.round(height / 2 - this.matrix[2] * centre[0] - this.matrix[3] * centre[1]),
    ];
    const across = positions(width, this.shift[0], this.swapped ? this.matrix[1] : this.matrix[0]);
    const down = positions(height, this.shift[1], this.swapped ? this.matrix[2] : this.matrix[3]);
    [this.u, this.v] = this.swapped ? [down, across] : [across, down];
  }

  toScreen([u, v]) {
    const [a, b, c, d] = this.matrix;
    return [a * u + b * v + this.shift[0], c * u + d * v + this.shift[1]];
  }

  toPicture([x, y]) {
    const [a, b, c, d] = this.matrix;
    const [p, q] = [x - this.shift[0], y - this.shift[1]];
    return this.swapped ? [q / c, p / b] : [p / a, q / d];
  }
}

const positions = (count, shift, scale) => Float64Array.from({ length: count }, (_, i) => (i + 0.5 - shift) / scale);

const opposite = (letters) => [...letters].map((letter) => OPPOSITE[letter] ?? letter).join("");

// The patient's directions at the four edges of the screen.
function edgeMarks(orientation, [a, b, c, d]) {
  if (!orientation) return null;
  const [along, down] = orientation;
  const towards = (x, y) => (x ? (x > 0 ? along : opposite(along)) : y > 0 ? down : opposite(down));
  return { right: towards(a, b), left: towards(-a, -b), bottom: towards(c, d), top: towards(-c, -d) };
}
