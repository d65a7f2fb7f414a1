// Lines and letters over the picture: contours, measurements, the scale bar, what the model does not see.

const BAR_LENGTHS_MM = [500, 200, 100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1];
const LINE_COLOUR = "#ffd84d";
const DARK_HALO = "rgba(0, 0, 0, 0.7)";
// ABGR, as canvases hold it in memory.
const GRAPHICS_COLOUR = 0xffb4f07a;

function drawOver(viewer, context, place, ratio) {
  context.clearRect(0, 0, place.width, place.height);
  context.lineCap = "round";
  if (viewer.look.graphics && viewer.view.frame === viewer.header.frame) drawGraphics(viewer, context, place);
  if (viewer.view.fit && viewer.maps?.seen) hatch(context, place, viewer.maps.seen, ratio);
  if (viewer.outlineShown()) drawOutline(viewer, context, place, ratio);
  if (viewer.look.contour && viewer.heatShown()) drawContours(viewer, context, place, ratio);
  if (placesShown(viewer)) drawPlaces(viewer, context, place, ratio);
  drawRegion(viewer, context, place, ratio);
  viewer.lengths.here().forEach((line) => drawLine(viewer, context, place, line, ratio));
  if (viewer.lengths.cursor) drawCursor(context, place.toScreen(viewer.lengths.cursor), ratio);
  drawScaleBar(viewer, context, place, ratio);
}

// The file's own graphics, which it draws over the frame that it came with.
function drawGraphics(viewer, context, place) {
  viewer.graphics ??= graphicsOf(viewer);
  if (!viewer.graphics) return;
  const [a, b, c, d] = place.matrix;
  context.save();
  context.imageSmoothingQuality = "high";
  context.setTransform(a, c, b, d, ...place.shift);
  context.drawImage(viewer.graphics, 0, 0);
  context.restore();
}

function graphicsOf({ header, section }) {
  const mask = section("overlay");
  if (!mask) return null;
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: header.columns, height: header.rows });
  const context = canvas.getContext("2d");
  const image = context.createImageData(header.columns, header.rows);
  new Uint32Array(image.data.buffer).set(Uint32Array.from(mask, (bit) => (bit ? GRAPHICS_COLOUR : 0)));
  context.putImageData(image, 0, 0);
  return canvas;
}

function drawContours(viewer, context, place, ratio) {
  const { maps, look } = viewer;
  const colours = look.signed ? maps.scales.signed : maps.scales.for;
  context.save();
  context.beginPath();
  const from = viewer.heatFrom(place);
  context.rect(from, 0, place.width - from, place.height);
  context.clip();
  for (const { strength, lines } of viewer.contourLines()) {
    context.beginPath();
    for (let i = 0; i < lines.length; i += 4) {
      context.moveTo(...place.toScreen([lines[i], lines[i + 1]]));
      context.lineTo(...place.toScreen([lines[i + 2], lines[i + 3]]));
    }
    const { colour, light } = colourAt(colours, look.signed ? (strength + 1) / 2 : strength);
    outlined(context, colour, (1 + Math.abs(strength)) * ratio, light ? DARK_HALO : "rgba(255, 255, 255, 0.5)");
  }
  context.restore();
}

function outlined(context, colour, width, halo = DARK_HALO) {
  context.strokeStyle = halo;
  context.lineWidth = width + 2;
  context.stroke();
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
}

function hatch(context, place, [x0, y0, x1, y1], ratio) {
  const corner = (u, v) => place.toScreen([u, v]);
  const rectangle = ([left, top], [right, bottom]) => context.rect(left, top, right - left, bottom - top);
  context.save();
  context.beginPath();
  rectangle(corner(0, 0), corner(place.columns, place.rows));
  rectangle(corner(x0, y0), corner(x1, y1));
  context.clip("evenodd");
  context.fillStyle = "rgba(0, 0, 0, 0.45)";
  context.fillRect(0, 0, place.width, place.height);
  context.beginPath();
  for (let x = -place.height; x < place.width; x += 9 * ratio) {
    context.moveTo(x, place.height);
    context.lineTo(x + place.height, 0);
  }
  context.strokeStyle = "rgba(255, 255, 255, 0.45)";
  context.lineWidth = ratio;
  context.stroke();
  context.restore();
  context.beginPath();
  rectangle(corner(x0, y0), corner(x1, y1));
  outlined(context, "rgba(255, 255, 255, 0.8)", ratio);
}

function drawLine(viewer, context, place, { from, to }, ratio) {
  const [start, end] = [place.toScreen(from), place.toScreen(to)];
  context.beginPath();
  context.moveTo(...start);
  context.lineTo(...end);
  outlined(context, LINE_COLOUR, 1.5 * ratio);
  for (const [x, y] of [start, end]) {
    context.beginPath();
    context.arc(x, y, 3 * ratio, 0, 2 * Math.PI);
    outlined(context, LINE_COLOUR, 1.5 * ratio);
  }
  const lower = start[1] > end[1] ? start : end;
  const below = [lower[0] + 8 * ratio, lower[1] + 16 * ratio];
  write(context, viewer.lengths.text({ from, to }), below, ratio, { colour: LINE_COLOUR });
}

function drawCursor(context, [x, y], ratio) {
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + 4 * dx * ratio, y + 4 * dy * ratio);
    context.lineTo(x + 14 * dx * ratio, y + 14 * dy * ratio);
  }
  outlined(context, LINE_COLOUR, 1.5 * ratio);
}

function write(context, text, [x, y], ratio, { colour = "#f2f5f7", align = "left", size = 13, weight = 500 } = {}) {
  context.font = `${weight} ${size * ratio}px system-ui, sans-serif`;
  context.textAlign = align;
  const width = context.measureText(text).width;
  const shift = { left: 0, center: width / 2, right: width }[align];
  const least = 4 * ratio + shift;
  const inside = clamp(x, least, Math.max(least, context.canvas.width - 4 * ratio - width + shift));
  const low = clamp(y, size * ratio, context.canvas.height - 6 * ratio);
  context.lineWidth = 3 * ratio;
  context.lineJoin = "round";
  context.strokeStyle = "rgba(0, 0, 0, 0.75)";
  context.strokeText(text, inside, low);
  context.fillStyle = colour;
  context.fillText(text, inside, low);
}

// The longest round length of at most a quarter of the screen, along the screen's horizontal.
function drawScaleBar(viewer, context, place, ratio) {
  const { spacing } = viewer.header;
  if (!spacing) return;
  const perMm = place.scale[0] / spacing[1];
  const length = BAR_LENGTHS_MM.find((mm) => mm * perMm <= place.width / 4);
  if (!length) return;
  const [end, y] = [place.width - 16 * ratio, place.height - 34 * ratio];
  const start = end - length * perMm;
  context.beginPath();
  for (const x of [start, end]) {
    context.moveTo(x, y - 4 * ratio);
    context.lineTo(x, y + 4 * ratio);
  }
  context.moveTo(start, y);
  context.lineTo(end, y);
  outlined(context, "#f2f5f7", 1.5 * ratio);
  const text = length >= 10 ? `${length / 10} cm` : `${length} mm`;
  write(context, text, [end, y - 8 * ratio], ratio, { align: "right", size: 12 });
}
