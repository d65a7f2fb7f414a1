// A picture with boxes on it; a click, or an arrow key in a grid, tells Python the place in shares of width and height.

const SVG = "http://www.w3.org/2000/svg";
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const drawn = new WeakMap();

function unpack(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return { header, png: bytes.slice(4 + length), bytes };
}

const isSame = (a, b) => a?.length === b.length && a.every((byte, i) => byte === b[i]);

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

function box(svg, mark) {
  const at = { x: `${100 * mark.x}%`, y: `${100 * mark.y}%`, width: `${100 * mark.width}%`, height: `${100 * mark.height}%` };
  if (mark.kind === "dead" || mark.kind === "twin") {
    const flag = element("text", { x: `${100 * (mark.x + mark.width * 0.08)}%`, y: `${100 * (mark.y + mark.height * 0.12)}%`, class: mark.kind }, svg);
    flag.textContent = mark.kind === "dead" ? "×" : "=";
    return;
  }
  element("rect", { ...at, class: `${mark.kind} under` }, svg);
  element("rect", { ...at, class: mark.kind }, svg);
  if (!mark.words) return;
  // Beside the box, so that a small one is not covered.
  const fits = mark.x + mark.width < 0.85;
  const side = fits ? { x: `${100 * (mark.x + mark.width)}%`, dx: 6 } : { x: `${100 * mark.x}%`, dx: mark.x > 0.15 ? -6 : 6, "text-anchor": mark.x > 0.15 ? "end" : "start" };
  const words = element("text", { ...side, y: `${100 * Math.max(mark.y, 0.01)}%`, dy: 10, class: "words" }, svg);
  words.textContent = mark.words;
}

function chosenBox(grid) {
  if (!grid?.chosen) return [];
  const [row, column] = grid.chosen;
  return [{ x: column / grid.columns, y: row / grid.rows, width: 1 / grid.columns, height: 1 / grid.rows, kind: "chosen", words: "" }];
}

function build(root) {
  root.replaceChildren();
  const frame = document.createElement("div");
  frame.className = "frame";
  frame.tabIndex = 0;
  const image = document.createElement("img");
  const svg = document.createElementNS(SVG, "svg");
  const name = document.createElement("span");
  name.className = "name";
  frame.append(image, svg, name);
  root.append(frame);
  return { frame, image, svg, name, url: null, png: null };
}

function place(event, frame) {
  const area = frame.getBoundingClientRect();
  return { x: (event.clientX - area.left) / area.width, y: (event.clientY - area.top) / area.height };
}

function cellName(grid, { x, y }) {
  if (!grid?.names.length) return "";
  return grid.names[Math.floor(y * grid.rows) * grid.columns + Math.floor(x * grid.columns)] ?? "";
}

function moved(grid, key) {
  if (!grid || !STEPS[key]) return null;
  const [row, column] = grid.chosen ?? [0, 0];
  const [right, down] = STEPS[key];
  const to = [Math.min(Math.max(row + down, 0), grid.rows - 1), Math.min(Math.max(column + right, 0), grid.columns - 1)];
  return { x: (to[1] + 0.5) / grid.columns, y: (to[0] + 0.5) / grid.rows };
}

export default function picture({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".pointing");
  const { header, png } = unpack(data);
  let parts = drawn.get(root);
  if (!parts || !root.contains(parts.frame)) drawn.set(root, (parts = build(root)));
  if (!isSame(parts.png, png)) {
    if (parts.url) URL.revokeObjectURL(parts.url);
    parts.png = png;
    parts.url = URL.createObjectURL(new Blob([png], { type: "image/png" }));
    parts.image.src = parts.url;
  }
  parts.image.alt = header.alt;
  parts.frame.setAttribute("aria-label", header.alt);
  parts.frame.classList.toggle("sharp", header.sharp);
  parts.svg.replaceChildren();
  for (const mark of [...header.marks, ...chosenBox(header.grid)]) box(parts.svg, mark);
  const tell = (point) => setTriggerValue("point", { x: point.x, y: point.y });
  parts.frame.classList.toggle("still", header.still);
  parts.frame.tabIndex = header.grid && !header.still ? 0 : -1;
  parts.frame.onclick = (event) => { if (!header.still) tell(place(event, parts.frame)); };
  parts.frame.onmousemove = (event) => { parts.name.textContent = cellName(header.grid, place(event, parts.frame)); };
  parts.frame.onmouseleave = () => { parts.name.textContent = ""; };
  parts.frame.onkeydown = (event) => {
    const to = moved(header.grid, event.key);
    if (to) { event.preventDefault(); tell(to); }
  };
  return () => {
    if (parts.url && !root.isConnected) { URL.revokeObjectURL(parts.url); drawn.delete(root); }
  };
}
