// The keyboard: every key of the list behind "?" and what it does.

const KEYS = {
  w: (viewer) => viewer.setTool("window"),
  p: (viewer) => viewer.setTool("pan"),
  z: (viewer) => viewer.setTool("zoom"),
  l: (viewer) => viewer.setTool("length"),
  e: (viewer) => viewer.asking() && viewer.setTool("brush"),
  x: (viewer) => viewer.asking() && viewer.setTool("box"),
  ",": (viewer) => viewer.setBrush(viewer.look.brush / 1.25),
  ".": (viewer) => viewer.setBrush(viewer.look.brush * 1.25),
  b: (viewer) => viewer.shiftWindow(-0.05, 1),
  d: (viewer) => viewer.shiftWindow(0.05, 1),
  k: (viewer) => viewer.shiftWindow(0, 1 / 1.1),
  j: (viewer) => viewer.shiftWindow(0, 1.1),
  "+": (viewer) => viewer.act("zoomIn"),
  "=": (viewer) => viewer.act("zoomIn"),
  "-": (viewer) => viewer.act("zoomOut"),
  f: (viewer) => viewer.act("fit"),
  n: (viewer) => viewer.act("native"),
  i: (viewer) => viewer.act("invert"),
  r: (viewer) => viewer.act("rotateRight"),
  R: (viewer) => viewer.act("rotateLeft"),
  h: (viewer) => viewer.act("flipHorizontal"),
  v: (viewer) => viewer.act("flipVertical"),
  m: (viewer) => viewer.act("heat"),
  o: (viewer) => viewer.act("outline"),
  t: (viewer) => viewer.act("places"),
  c: (viewer) => viewer.act(viewer.look.contour ? "colour" : "contour"),
  s: (viewer) => viewer.act("swipe"),
  "[": (viewer) => viewer.setLook({ opacity: clamp(viewer.look.opacity - 0.1, 0, 1) }, "table"),
  "]": (viewer) => viewer.setLook({ opacity: clamp(viewer.look.opacity + 0.1, 0, 1) }, "table"),
  " ": (viewer) => viewer.act("play"),
  PageUp: (viewer) => viewer.goTo(viewer.view.frame - 1),
  PageDown: (viewer) => viewer.goTo(viewer.view.frame + 1),
  Home: (viewer) => viewer.goTo(0),
  End: (viewer) => viewer.goTo(viewer.header.frames - 1),
  Delete: (viewer) => viewer.drop(),
  Backspace: (viewer) => viewer.drop(),
  Enter: (viewer) => viewer.placeCursor(),
  Escape: (viewer) => viewer.leave(),
  "0": (viewer) => viewer.act("reset"),
  "?": (viewer) => viewer.act("help"),
};
// Texts of the list: [shown keys, text].
const KEY_LIST = [
  ["W P Z L", "viewer.keys_tools"], ["B / D, J / K", "viewer.keys_window"], ["1 … 9", "viewer.keys_presets"],
  ["+ − F N", "viewer.keys_zoom"], ["⇧ ← → ↑ ↓", "viewer.keys_pan"], ["R ⇧R H V I", "viewer.keys_turn"],
  ["M O T C S [ ]", "viewer.keys_heat"], ["↑ ↓ Home End", "viewer.keys_slices"], ["Space", "viewer.keys_play"],
  ["Enter ← → ↑ ↓", "viewer.keys_length"], ["E X , .", "viewer.keys_region"], ["Del", "viewer.keys_delete"], ["0", "viewer.keys_reset"],
  ["Esc", "viewer.keys_leave"],
];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const SLIDER_KEYS = ["Home", "End", "PageUp", "PageDown", " "];
const PAN_STEP = 40;

function onKey(viewer, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.composedPath()[0];
  const typing = target.matches("input[type=number], select") && event.key !== "Escape";
  const sliding = target.matches("input, .divider") && (event.key in ARROWS || SLIDER_KEYS.includes(event.key));
  const pressing = target.matches("button") && ["Enter", " "].includes(event.key);
  if (typing || sliding || pressing) return;
  if (handled(viewer, event)) {
    event.preventDefault();
    event.stopPropagation();
  }
}

function handled(viewer, event) {
  if (event.key in ARROWS) return arrow(viewer, ARROWS[event.key], event.shiftKey);
  if (/^[1-9]$/.test(event.key)) {
    viewer.choosePreset(Number(event.key) - 1);
    return true;
  }
  const action = KEYS[event.key] ?? KEYS[event.key.length === 1 ? event.key.toLowerCase() : ""];
  action?.(viewer);
  return Boolean(action);
}

// With the tools that mark places: the cursor. With shift: the picture moves. Else through the slices; a single picture leaves the
// keys to the page.
function arrow(viewer, [x, y], shift) {
  const marks = ["length", ...REGION_TOOLS].includes(viewer.tool());
  if (marks && !viewer.view.planes) viewer.lengths.moveCursor(x, y, shift ? 10 : 1);
  else if (shift) viewer.panBy(-x * PAN_STEP * devicePixelRatio, -y * PAN_STEP * devicePixelRatio);
  else if (viewer.header.frames > 1) viewer.goTo(viewer.view.frame + x + y);
  else return false;
  return true;
}

function listKeys(viewer, list) {
  list.replaceChildren(...KEY_LIST.flatMap(([keys, words]) => {
    const [term, meaning] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = keys;
    meaning.textContent = viewer.say(words);
    return [term, meaning];
  }));
}
