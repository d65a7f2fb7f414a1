// Stored value -> grey level, the arithmetic of core/windowing.py in its order and its 32-bit precision.

const fround = Math.fround;
const NO_PIXEL = 65536;
// A canvas' pixel as one number, in the order of its bytes in memory.
const opaque = (red, green, blue) => (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
const IDENTITY = Uint8Array.from({ length: NO_PIXEL + 1 }, (_, level) => (level < 256 ? level : 0));
// First stored value of a type, and index steps between two whole values: 8 bits leave room for in-between greys.
const INDEXED = { u1: [0, 256], i1: [-128, 256], u2: [0, 1], i2: [-32768, 1] };

function lookUp(table, first) {
  const last = table.length - 1;
  return (value) => table[clamp(halfEven(value) - first, 0, last)];
}

function modality(header, section) {
  const table = section("table", "f4");
  if (table) return lookUp(table, header.table_first ?? 0);
  const { slope = 1, intercept = 0 } = header;
  return (stored) => fround(stored * slope + intercept);
}

function windowing({ centre, width, function: name }) {
  if (name === "SIGMOID") {
    const exponent = (value) => fround(fround(-4 * fround(value - fround(centre))) / fround(width));
    return (value) => fround(1 / fround(1 + fround(Math.exp(clamp(exponent(value), -60, 60)))));
  }
  if (name === "LINEAR_EXACT") return ramp(fround(centre), fround(width));
  if (width === 1) return (value) => (value > fround(centre - 0.5) ? 1 : 0);
  return ramp(fround(centre - 0.5), fround(width - 1));
}

const ramp = (middle, width) => (value) => clamp(fround(fround(fround(value - middle) / width) + 0.5), 0, 1);

class Tones {
  constructor({ header, section }) {
    this.header = header;
    this.value = header.samples === 3 ? (stored) => stored : modality(header, section);
    const voi = section("voi", "f4");
    this.fromTable = voi && lookUp(voi, header.voi_first ?? 0);
    this.indexed = INDEXED[header.type] ?? null;
    this.levels = this.indexed ? new Uint8Array(NO_PIXEL + 1) : IDENTITY;
    this.packed = new Uint32Array(NO_PIXEL + 1);
    this.values = this.indexed && this.#valuesOfIndices();
  }

  #valuesOfIndices() {
    const [first, steps] = this.indexed;
    return Float32Array.from({ length: NO_PIXEL }, (_, index) => this.value(first + index / steps));
  }

  #grey(window) {
    if (this.header.samples === 3) return (value) => fround(value / 255);
    return window.lut && this.fromTable ? this.fromTable : windowing(window);
  }

  set(window, invert) {
    const { header } = this;
    const grey = this.#grey(window);
    const flipped = Boolean(header.monochrome1) !== Boolean(invert);
    this.level = flipped
      ? (value) => halfEven(fround(fround(1 - grey(value)) * 255))
      : (value) => halfEven(fround(grey(value) * 255));
    if (this.indexed) {
      for (let index = 0; index < NO_PIXEL; index++) this.levels[index] = this.level(this.values[index]);
      this.levels[NO_PIXEL] = 0;
    }
    this.levels.forEach((level, index) => { this.packed[index] = opaque(level, level, level); });
  }

  // Resampled stored values -> indices of ``levels``; what is no number (outside, padding) is black.
  index(sampled, indices) {
    if (!this.indexed) return this.#directly(sampled, indices);
    const [first, steps] = this.indexed;
    for (let i = 0; i < sampled.length; i++) {
      const stored = sampled[i];
      indices[i] = stored === stored ? (stored - first) * steps + 0.5 : NO_PIXEL;
    }
  }

  #directly(sampled, indices) {
    for (let i = 0; i < sampled.length; i++) {
      const stored = sampled[i];
      indices[i] = stored === stored ? this.level(this.value(stored)) : NO_PIXEL;
    }
  }

  // The level of one stored value, whatever its type.
  levelOf(stored) {
    const { padding } = this.header;
    if (padding && stored >= padding[0] && stored <= padding[1]) return 0;
    return this.level(this.value(stored));
  }
}
