// What is shown as a PNG at the picture's own resolution, with marks, scale and footer.

const MOST_SIDE = 4096;
const LEAST_SIDE = 512;

// The composite alone at ``zoom`` screen pixels for a picture's pixel, turned as shown.
function composite(viewer, zoom) {
  const { view, look, header } = viewer;
  const picture = viewer.picture();
  const [across, down] = [header.columns * picture.aspect[0] * zoom, header.rows * picture.aspect[1] * zoom].map(Math.round);
  const size = picture.turn[0] ? [across, down] : [down, across];
  const place = new Placement(picture, zoom, viewer.middle(), ...size);
  const screen = new Screen(document.createElement("canvas"));
  screen.resize(...size, header.samples);
  screen.sample(viewer.pyramids, place, look.smooth);
  const heated = viewer.heatShown();
  if (heated) screen.sampleHeat(viewer.maps, viewer.maps.map(view.label), place);
  screen.paint(viewer.tones, viewer.table, heated && !look.contour ? viewer.heatFrom(place) : place.width);
  return { screen, place };
}

function exportZoom({ header }) {
  const longest = Math.max(...aspectOf(header.spacing).map((aspect, axis) => aspect * [header.columns, header.rows][axis]));
  return longest > MOST_SIDE ? MOST_SIDE / longest : Math.max(1, Math.ceil(LEAST_SIDE / longest));
}

function drawnPicture(viewer) {
  const { screen, place } = composite(viewer, exportZoom(viewer));
  const { width, height } = place;
  const ratio = Math.max(1, Math.max(width, height) / 900);
  const over = document.createElement("canvas");
  Object.assign(over, { width, height });
  const lines = over.getContext("2d");
  drawOver(viewer, lines, place, ratio);
  drawMarks(viewer, lines, place, ratio);
  const canvas = document.createElement("canvas");
  const outline = viewer.outlineShown() ? 30 * ratio : 0;
  const places = placesShown(viewer) ? 30 * ratio : 0;
  const legend = (viewer.heatShown() ? 40 * ratio : 0) + outline + places;
  Object.assign(canvas, { width, height: Math.round(height + legend + 30 * ratio) });
  const context = canvas.getContext("2d");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(screen.canvas, 0, 0);
  context.drawImage(over, 0, 0);
  if (outline) {
    write(context, outlineInWords(viewer), [10 * ratio, height + 20 * ratio], ratio, { colour: OUTLINE_COLOUR, size: 12 });
  }
  if (places) {
    write(context, placesInWords(viewer), [10 * ratio, height + outline + 20 * ratio], ratio, { colour: PLACE_COLOUR, size: 12 });
  }
  if (viewer.heatShown()) drawLegend(viewer, context, height + outline + places + 8 * ratio, ratio);
  write(context, viewer.say("viewer.footer"), [width / 2, canvas.height - 10 * ratio], ratio, { align: "center", size: 12 });
  return canvas;
}

function drawMarks(viewer, context, { width, height }, ratio) {
  const marks = edgeMarks(viewer.header.orientation, viewer.view.turn);
  if (!marks) return;
  const style = { size: 18, weight: 600 };
  write(context, marks.left, [10 * ratio, height / 2], ratio, style);
  write(context, marks.right, [width - 10 * ratio, height / 2], ratio, { ...style, align: "right" });
  write(context, marks.top, [width / 2, 22 * ratio], ratio, { ...style, align: "center" });
  write(context, marks.bottom, [width / 2, height - 10 * ratio], ratio, { ...style, align: "center" });
}

function drawLegend(viewer, context, top, ratio) {
  const { maps, look } = viewer;
  const scale = document.createElement("canvas");
  Object.assign(scale, { width: 256, height: 1 });
  drawScale(scale, look.signed ? maps.scales.signed : maps.scales.for);
  const words = legendWords(viewer);
  const [left, width] = [70 * ratio, Math.min(200 * ratio, context.canvas.width / 3)];
  context.drawImage(scale, left, top, width, 12 * ratio);
  write(context, words.low, [left - 6 * ratio, top + 11 * ratio], ratio, { align: "right", size: 12 });
  const meaning = `${words.high} ${words.unit} · ${viewer.label().words}`;
  write(context, meaning, [left + width + 6 * ratio, top + 11 * ratio], ratio, { size: 12 });
}

function download(viewer) {
  drawnPicture(viewer).toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `radlens-${viewer.header.id.slice(0, 8)}-${viewer.view.frame + 1}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, "image/png");
}

// When the script fails: the picture as Python drew it, and one plain sentence.
function showStill(root, message, error) {
  if (!root) return;
  const texts = message?.header.texts ?? {};
  const still = root.querySelector(".still");
  const bytes = message?.section("still");
  root.querySelector(".body").hidden = true;
  still.hidden = false;
  still.querySelector("img").alt = texts["viewer.still_alt"] ?? "The scan as a still picture";
  still.querySelector("figcaption").textContent = texts["viewer.still"] ?? "The interactive viewer could not start.";
  still.querySelector("img").hidden = !bytes;
  const picture = bytes && new Blob([bytes], { type: "image/png" });
  if (picture) still.querySelector("img").src = URL.createObjectURL(picture);
  root.dataset.failed = error instanceof Error ? error.name : "Error";
}
