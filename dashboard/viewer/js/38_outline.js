// The outline that a segmentation model draws: where the probability reaches the threshold (core/masks.py).

const OUTLINE_GRID = 256;
const TINT_SIDE = 768;
const OUTLINE_COLOUR = "#35e0d2";
// ABGR, as canvases hold it in memory: the outline's colour, mostly transparent.
const TINT = 0x40d2e035;

class Outlines {
  constructor(message, picture) {
    const { header, section } = message;
    // A probability is looked up on the picture as evidence is.
    const grid = { ...header, ...header.masks, limit: 1 };
    const masks = (name, type) => section(name === "maps" ? "masks" : name, type);
    this.maps = new HeatMaps({ header: grid, section: masks }, picture);
    this.held = new Map();
  }

  // {threshold, size} of a label; ``size`` in words, null where nothing is outlined.
  of(code) {
    return this.maps.header.labels.find((label) => label.code === code)?.outline ?? null;
  }

  at(code, point) {
    return this.maps.at(this.maps.map(code), point);
  }

  // The edge as [u0, v0, u1, v1, ...] and the inside as a canvas over the whole picture.
  drawn(code) {
    if (!this.held.has(code)) this.held.set(code, { lines: this.#lines(code), inside: this.#inside(code) });
    return this.held.get(code);
  }

  #lines(code) {
    const { picture } = this.maps;
    // A little beyond the picture, where nothing is outlined: the edge closes along the border.
    const points = (extent) =>
      Float64Array.from({ length: OUTLINE_GRID + 3 }, (_, i) => ((i - 1) * extent * 0.999999) / OUTLINE_GRID);
    const [u, v] = [points(picture.columns), points(picture.rows)];
    const values = this.maps.evidence(this.maps.map(code), u, v).map((value) => (value === value ? value : 0));
    const inside = (extent) => (x) => clamp(x, 0, extent);
    return isoLines(values, u.map(inside(picture.columns)), v.map(inside(picture.rows)), this.of(code).threshold);
  }

  #inside(code) {
    const { columns, rows } = this.maps.picture;
    const scale = Math.min(1, TINT_SIDE / Math.max(columns, rows));
    const [width, height] = [columns, rows].map((side) => Math.max(1, Math.round(side * scale)));
    const centres = (extent, count) => Float64Array.from({ length: count }, (_, i) => ((i + 0.5) * extent) / count);
    const values = this.maps.evidence(this.maps.map(code), centres(columns, width), centres(rows, height));
    const { threshold } = this.of(code);
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    new Uint32Array(image.data.buffer).set(Uint32Array.from(values, (value) => (value >= threshold ? TINT : 0)));
    context.putImageData(image, 0, 0);
    return canvas;
  }
}

// The tint only where no heatmap needs the colours; the edge always.
function drawOutline(viewer, context, place, ratio) {
  const { lines, inside } = viewer.outlines.drawn(viewer.view.label);
  const [a, b, c, d] = place.matrix;
  const from = viewer.heatFrom(place);
  context.save();
  context.beginPath();
  context.rect(from, 0, place.width - from, place.height);
  context.clip();
  if (!viewer.heatShown()) {
    context.save();
    context.setTransform(a, c, b, d, ...place.shift);
    context.drawImage(inside, 0, 0, place.columns, place.rows);
    context.restore();
  }
  context.beginPath();
  for (let i = 0; i < lines.length; i += 4) {
    context.moveTo(...place.toScreen([lines[i], lines[i + 1]]));
    context.lineTo(...place.toScreen([lines[i + 2], lines[i + 3]]));
  }
  outlined(context, OUTLINE_COLOUR, 2 * ratio);
  context.restore();
}

// What the outline's colour means, or that there is none; empty where the model outlines nothing by its task.
function outlineInWords(viewer) {
  const label = viewer.label();
  const outline = label && viewer.outlines?.of(label.code);
  if (!outline || !viewer.heatIsHere()) return "";
  if (!outline.size) return viewer.say("viewer.outline_none", { label: label.words });
  return viewer.say("viewer.outline_legend", { label: label.words, size: outline.size, threshold: outline.threshold });
}
