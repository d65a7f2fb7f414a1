// One canvas: resampled values and heat are kept at screen resolution, so that a new window or opacity is only looked up.

const GREYS = Uint32Array.from(IDENTITY, (level) => opaque(level, level, level));

class Screen {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false, willReadFrequently: false });
  }

  resize(width, height, channels) {
    if (this.width === width && this.height === height && this.indices?.length === channels) return;
    Object.assign(this, { width, height });
    Object.assign(this.canvas, { width, height });
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.sampled = Array.from({ length: channels }, () => new Float32Array(width * height));
    this.indices = Array.from({ length: channels }, () => new Int32Array(width * height));
    this.heat = new Uint16Array(width * height);
  }

  // Only after a change of frame, zoom, place or turn.
  sample(pyramids, place, smooth) {
    pyramids.forEach((pyramid, channel) => resample(pyramid, place, smooth, this.sampled[channel]));
    this.indexed = false;
  }

  // Only after a change of label or place.
  sampleHeat(maps, map, place) {
    maps.onScreen(map, place, this.heat);
  }

  // ``heatFrom``: the first column with heat; the canvas' width where there is none.
  paint(tones, table, heatFrom = this.width) {
    if (!this.indexed || !tones.indexed) {
      this.sampled.forEach((sampled, channel) => tones.index(sampled, this.indices[channel]));
      this.indexed = true;
    }
    const levels = tones.indexed ? tones.levels : IDENTITY;
    const from = clamp(Math.round(heatFrom), 0, this.width);
    if (from > 0) this.#paintPlain(levels, tones.indexed ? tones.packed : GREYS, from);
    if (from < this.width) this.#paintHeat(levels, table, from);
    this.context.putImageData(this.image, 0, 0);
  }

  #paintPlain(levels, packed, to) {
    const { pixels, width, indices: [red, green, blue] } = this;
    for (let start = 0; start < pixels.length; start += width) {
      const end = start + to;
      if (green) {
        for (let i = start; i < end; i++) pixels[i] = opaque(levels[red[i]], levels[green[i]], levels[blue[i]]);
      } else {
        for (let i = start; i < end; i++) pixels[i] = packed[red[i]];
      }
    }
  }

  #paintHeat(levels, { keep, add: [addRed, addGreen, addBlue] }, from) {
    const { pixels, width, heat } = this;
    const [red, green = red, blue = red] = this.indices;
    for (let start = 0; start < pixels.length; start += width) {
      for (let i = start + from; i < start + width; i++) {
        const step = heat[i];
        const share = keep[step];
        const r = levels[red[i]] * share + addRed[step] + 0.5;
        const g = levels[green[i]] * share + addGreen[step] + 0.5;
        const b = levels[blue[i]] * share + addBlue[step] + 0.5;
        pixels[i] = opaque(r, g, b);
      }
    }
  }
}
