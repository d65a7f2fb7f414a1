// A picture in halved sizes, and its way onto a screen: averaged when smaller, bilinear or nearest when larger.

class Pyramid {
  // ``data``: rows * columns numbers, NaN where nothing shall be drawn; ``steps``: cells for each unit of the picture.
  constructor(data, columns, rows, steps = [1, 1]) {
    this.levels = [{ data, columns, rows, steps }];
  }

  // The level whose cells are at most ``ratio`` cells of the finest one wide.
  level(ratio) {
    const wanted = Math.max(0, Math.floor(Math.log2(ratio) + 1e-9));
    while (this.levels.length <= wanted) {
      const last = this.levels.at(-1);
      if (last.columns === 1 && last.rows === 1) break;
      this.levels.push(halved(last));
    }
    return this.levels[Math.min(wanted, this.levels.length - 1)];
  }
}

function halved({ data, columns, rows, steps }) {
  const width = Math.ceil(columns / 2);
  const height = Math.ceil(rows / 2);
  const out = new Float32Array(width * height);
  for (let y = 0, i = 0; y < height; y++) {
    const top = 2 * y * columns;
    const bottom = Math.min(2 * y + 1, rows - 1) * columns;
    for (let x = 0; x < width; x++, i++) {
      const left = 2 * x;
      const right = left + 1 < columns ? left + 1 : left;
      const a = data[top + left];
      const b = data[top + right];
      const c = data[bottom + left];
      const d = data[bottom + right];
      const sum = a + b + c + d;
      out[i] = sum === sum ? sum / 4 : meanOfNumbers(a, b, c, d);
    }
  }
  return { data: out, columns: width, rows: height, steps: [steps[0] / 2, steps[1] / 2] };
}

function meanOfNumbers(...cells) {
  const numbers = cells.filter((cell) => cell === cell);
  return numbers.reduce((sum, cell) => sum + cell, 0) / numbers.length;
}

// Stored values of one channel as numbers; padding becomes NaN, so that it never mixes with its neighbours.
function channelOf(stored, samples, channel, padding) {
  const out = new Float32Array(stored.length / samples);
  for (let i = 0, j = channel; i < out.length; i++, j += samples) out[i] = stored[j];
  if (!padding) return out;
  const [low, high] = padding;
  for (let i = 0; i < out.length; i++) if (stored[i] >= low && stored[i] <= high) out[i] = NaN;
  return out;
}

// For positions along one axis of the picture (edges: pixel i spans i..i+1): the two cells to mix and the share of the
// second; -1 outside.
function taps(positions, extent, cells, step, smooth) {
  const low = new Int32Array(positions.length);
  const high = new Int32Array(positions.length);
  const share = new Float32Array(positions.length);
  for (let i = 0; i < positions.length; i++) {
    const inside = positions[i] >= 0 && positions[i] < extent;
    const cell = clamp(smooth ? positions[i] * step - 0.5 : Math.floor(positions[i] * step), 0, cells - 1);
    low[i] = inside ? Math.floor(cell) : -1;
    high[i] = Math.min(low[i] + 1, cells - 1);
    share[i] = cell - Math.floor(cell);
  }
  return { low, high, share };
}

// One picture onto a screen of ``place``; ``out`` gets a number for each screen pixel, NaN where there is none.
function resample(pyramid, place, smooth, out) {
  const ratio = Math.min(pyramid.levels[0].steps[0] / place.scale[0], pyramid.levels[0].steps[1] / place.scale[1]);
  const { data, columns, rows, steps } = pyramid.level(Math.max(ratio, 1));
  const mixed = smooth || ratio > 1;
  const across = taps(place.u, place.columns, columns, steps[0], mixed);
  const down = taps(place.v, place.rows, rows, steps[1], mixed);
  const [x, y, strideX, strideY] = place.swapped ? [down, across, columns, 1] : [across, down, 1, columns];
  mix(data, x, y, strideX, strideY, out);
}

function mix(data, x, y, strideX, strideY, out) {
  const width = x.low.length;
  for (let row = 0, i = 0; row < y.low.length; row++) {
    const top = y.low[row] * strideY;
    const bottom = y.high[row] * strideY;
    const shareY = y.share[row];
    if (top < 0) {
      out.fill(NaN, i, (i += width));
      continue;
    }
    for (let column = 0; column < width; column++, i++) {
      const left = x.low[column] * strideX;
      if (left < 0) {
        out[i] = NaN;
        continue;
      }
      const right = x.high[column] * strideX;
      const shareX = x.share[column];
      const upper = data[top + left] + (data[top + right] - data[top + left]) * shareX;
      const lower = data[bottom + left] + (data[bottom + right] - data[bottom + left]) * shareX;
      const value = upper + (lower - upper) * shareY;
      out[i] = value === value ? value : data[(shareY < 0.5 ? top : bottom) + (shareX < 0.5 ? left : right)];
    }
  }
}
