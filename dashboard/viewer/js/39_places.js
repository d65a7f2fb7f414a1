// Findings as places: boxes or contours as core/explaining/places.py found them, drawn for the chosen label.

const PLACE_COLOUR = "#ff8df2";

// {list: [{box, contour}], words} of a label; null where the model draws no places for it.
function placesOf(viewer) {
  return (viewer.heatIsHere() && viewer.label()?.places) || null;
}

function placesShown(viewer) {
  return Boolean(viewer.look.places && placesOf(viewer)?.list.length && !viewer.view.planes);
}

function drawPlaces(viewer, context, place, ratio) {
  const { list } = placesOf(viewer);
  const from = viewer.heatFrom(place);
  context.save();
  context.beginPath();
  context.rect(from, 0, place.width - from, place.height);
  context.clip();
  for (const [index, found] of list.entries()) {
    const corners = placeCorners(found, viewer.look.placeContours).map((corner) => place.toScreen(corner));
    context.beginPath();
    corners.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    outlined(context, PLACE_COLOUR, 2 * ratio);
    if (list.length > 1) numberPlace(context, corners, index + 1, ratio);
  }
  context.restore();
}

function placeCorners({ box: [left, top, width, height], contour }, asContour) {
  if (asContour && contour?.length > 2) return contour;
  return [[left, top], [left + width, top], [left + width, top + height], [left, top + height]];
}

// Beside the upper left corner as it lies on the screen.
function numberPlace(context, corners, number, ratio) {
  const [x, y] = [0, 1].map((axis) => Math.min(...corners.map((corner) => corner[axis])));
  write(context, String(number), [x + 4 * ratio, y + 16 * ratio], ratio, { colour: PLACE_COLOUR, weight: 700 });
}

// What the boxes are, or why there are none; empty where the model draws no places for the label.
function placesInWords(viewer) {
  return viewer.look.places && !viewer.view.planes ? placesOf(viewer)?.words ?? "" : "";
}
