// Blocks and layers of a network as rows of buttons; a click tells Python the layer's name.

const shown = new WeakMap();

function unpack(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  return { header: JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))), png: bytes.slice(4 + length), bytes };
}

const isSame = (a, b) => a?.length === b.length && a.every((byte, i) => byte === b[i]);

function make(name, className, parent, text = "") {
  const made = document.createElement(name);
  made.className = className;
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}

function thumbnail(parent, index, look) {
  const made = make("span", index < 0 ? "thumb none" : "thumb", parent);
  if (index < 0) return;
  const [column, row] = [index % look.columns, Math.floor(index / look.columns)];
  made.style.backgroundImage = `url(${look.url})`;
  made.style.backgroundSize = `${100 * look.columns}% ${100 * look.rows}%`;
  const share = (at, count) => (count > 1 ? (100 * at) / (count - 1) : 0);
  made.style.backgroundPosition = `${share(column, look.columns)}% ${share(row, look.rows)}%`;
}

function cells(row, one, look) {
  thumbnail(row, one.thumb, look);
  const named = make("span", "named", row);
  const title = make("span", "title", named, one.name);
  if (one.badge) make("span", `badge ${one.kind}`, title, one.badge);
  make("span", "words", named, one.words);
  for (const field of ["shape", "parameters", "sees"]) {
    const cell = make("span", `cell ${field}`, row, one[field]);
    cell.dataset.head = look.heads[field];
  }
  const share = make("span", "cell share", row);
  share.dataset.head = look.heads.share;
  const bar = make("span", "bar", share);
  make("span", "fill", bar).style.width = `${Math.max(one.share > 0 ? 1 : 0, 100 * one.share)}%`;
  make("span", "percent", share, one.percent);
}

function layerRow(parent, layer, look, tell) {
  const row = make("button", layer.name === look.chosen ? "row chosen" : "row", parent);
  row.type = "button";
  row.dataset.layer = layer.name;
  row.setAttribute("aria-label", `${layer.name}, ${layer.words}`);
  cells(row, layer, look);
  row.onclick = () => tell(layer.name);
}

function blockRow(parent, block, look, tell) {
  const folded = make("details", `block ${block.kind}`, parent);
  folded.open = look.open;
  const head = make("summary", "row", folded);
  cells(head, block, look);
  const inner = make("div", "inner", folded);
  const fill = () => { if (!inner.childElementCount) for (const layer of block.layers) layerRow(inner, layer, look, tell); };
  folded.ontoggle = () => { if (folded.open) fill(); };
  if (look.open || block.layers.some((layer) => layer.name === look.chosen)) { folded.open = true; fill(); }
}

export default function layers({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".layers");
  const { header, png, bytes } = unpack(data);
  const before = shown.get(root);
  const tell = (name) => setTriggerValue("layer", name);
  if (before) before.tell = tell;
  if (before && isSame(before.bytes, bytes) && root.childElementCount) return;
  if (before) URL.revokeObjectURL(before.url);
  const kept = { bytes, url: URL.createObjectURL(new Blob([png], { type: "image/png" })), tell };
  shown.set(root, kept);
  const look = { ...header.look, url: kept.url };
  root.replaceChildren();
  const heads = make("div", "row heads", root);
  for (const field of ["thumb", "named", "shape", "parameters", "sees", "share"]) make("span", `cell ${field}`, heads, header.look.heads[field] ?? "");
  const say = (name) => kept.tell(name);
  for (const block of header.blocks) {
    if (block.layers.length === 1) layerRow(root, block.layers[0], look, say);
    else blockRow(root, block, look, say);
  }
}
