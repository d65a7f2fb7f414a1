// Two heatmaps and their disagreement over the same picture: one zoom, one place, one crosshair for all three.

const COMPARED = ["first", "second", "difference"];
const PLAIN = { centre: 128, width: 256, function: "LINEAR" };

class Compared {
  constructor(root, message) {
    const { header } = message;
    Object.assign(this, { root, header, zoom: null, centre: [header.columns / 2, header.rows / 2], at: null });
    this.picture = { rows: header.rows, columns: header.columns, aspect: aspectOf(header.spacing), turn: [1, 0, 0, 1] };
    this.tones = new Tones({ header: { samples: 1, type: "u1" }, section: () => null });
    this.tones.set(PLAIN, false);
    this.pyramids = [new Pyramid(channelOf(message.section("grey"), 1, 0), header.columns, header.rows)];
    this.listeners = new AbortController();
    const template = root.querySelector("template");
    root.querySelector(".panes").replaceChildren(...COMPARED.map(() => template.content.firstElementChild.cloneNode(true)));
    this.panes = [...root.querySelectorAll(".pane")].map((element, i) => new ComparedPane(this, element, message, COMPARED[i]));
    this.resizing = new ResizeObserver(() => this.draw());
    this.resizing.observe(root);
    this.draw();
    root.dataset.ready = "true";
  }

  close() {
    this.listeners.abort();
    this.resizing.disconnect();
    cancelAnimationFrame(this.waiting);
  }

  draw() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.panes.forEach((pane) => pane.draw());
    });
  }

  point(at) {
    this.at = at;
    this.draw();
  }

  step(x, y) {
    const step = 1 / Math.max(this.panes[0].place.zoom, 0.02);
    const [u, v] = this.at ?? this.centre;
    this.point([clamp(u + x * step, 0, this.header.columns - 0.01), clamp(v + y * step, 0, this.header.rows - 0.01)]);
  }

  zoomBy(factor, place, at) {
    const zoom = clamp(place.zoom * factor, 0.02, 40);
    const held = place.toPicture(at);
    const moved = new Placement(this.picture, zoom, this.centre, place.width, place.height).toPicture(at);
    Object.assign(this, { zoom, centre: this.centre.map((value, axis) => value + held[axis] - moved[axis]) });
    this.draw();
  }

  panBy(place, from, to) {
    const [start, end] = [from, to].map((at) => place.toPicture(at));
    const size = [this.header.columns, this.header.rows];
    this.zoom = place.zoom;
    this.centre = this.centre.map((value, axis) => clamp(value + start[axis] - end[axis], 0, size[axis]));
    this.draw();
  }

  whole() {
    Object.assign(this, { zoom: null, centre: [this.header.columns / 2, this.header.rows / 2] });
    this.draw();
  }
}

class ComparedPane {
  constructor(host, element, message, name) {
    const facts = message.header.maps[name];
    Object.assign(this, { host, element, facts, name });
    const sections = { maps: name, scale_for: "scale_for", scale_signed: "scale_signed" };
    const header = { ...facts, labels: [{ code: name }] };
    this.maps = new HeatMaps({ header, section: (part, type) => message.section(sections[part], type) }, message.header);
    this.table = new HeatTable();
    this.table.set(this.maps.scales, { opacity: 0.6, threshold: 0, signed: facts.signed });
    this.screen = new Screen(element.querySelector(".pixels"));
    this.canvas = element.querySelector(".drawing");
    this.context = this.canvas.getContext("2d");
    setText(element.querySelector(".title"), facts.title);
    setText(element.querySelector(".low"), facts.low);
    setText(element.querySelector(".high"), facts.high);
    setText(element.querySelector(".unit"), facts.unit);
    drawComparedScale(element.querySelector(".legend canvas"), this.maps.scales[facts.signed ? "signed" : "for"]);
    this.#listen(host.listeners.signal);
  }

  #listen(signal) {
    const { canvas, host } = this;
    const on = (event, handler) => canvas.addEventListener(event, handler, { signal, passive: false });
    on("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.dragged = this.#at(event);
    });
    on("pointerup", () => { this.dragged = null; });
    on("pointercancel", () => { this.dragged = null; });
    on("pointermove", (event) => {
      const at = this.#at(event);
      if (this.dragged && event.buttons) host.panBy(this.place, this.dragged, at);
      if (this.dragged) this.dragged = at;
      host.point(this.place.toPicture(at));
    });
    on("pointerleave", () => host.point(null));
    on("dblclick", () => host.whole());
    on("wheel", (event) => {
      event.preventDefault();
      host.zoomBy(Math.exp(-event.deltaY * 0.0015), this.place, this.#at(event));
    });
    on("keydown", (event) => this.#key(event));
  }

  #key(event) {
    const step = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8] }[event.key];
    const factor = { "+": 1.25, "=": 1.25, "-": 0.8 }[event.key];
    if (step) this.host.step(...step);
    else if (factor) this.host.zoomBy(factor, this.place, [this.place.width / 2, this.place.height / 2]);
    else if (event.key === "f") this.host.whole();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = [this.canvas.width / box.width, this.canvas.height / box.height];
    return [(event.clientX - box.left) * scale[0], (event.clientY - box.top) * scale[1]];
  }

  draw() {
    const { host, screen, canvas } = this;
    const stage = this.element.querySelector(".stage");
    const [across, down] = [host.picture.columns * host.picture.aspect[0], host.picture.rows * host.picture.aspect[1]];
    stage.style.height = `${Math.round(Math.min((stage.clientWidth * down) / across, stage.clientWidth * 1.4))}px`;
    const [width, height] = [stage.clientWidth, stage.clientHeight].map((side) => Math.max(1, Math.round(side * devicePixelRatio)));
    screen.resize(width, height, 1);
    Object.assign(canvas, { width, height });
    this.place = new Placement(host.picture, host.zoom ?? fitZoom(host.picture, width, height), host.centre, width, height);
    screen.sample(host.pyramids, this.place, true);
    screen.sampleHeat(this.maps, this.maps.map(this.name), this.place);
    screen.paint(host.tones, this.table, 0);
    this.#point();
  }

  // The crosshair, and the value below it.
  #point() {
    const { host, context, place } = this;
    const inside = host.at && host.at.every((value, axis) => value >= 0 && value < [host.header.columns, host.header.rows][axis]);
    const value = inside ? this.maps.at(this.maps.map(this.name), host.at) : null;
    const words = value === null ? "" : fill(host.header.texts.value, { value: signedShort(value || 0), unit: this.facts.unit });
    setText(this.element.querySelector(".value"), words);
    this.canvas.setAttribute("aria-label", [this.facts.title, words].filter(Boolean).join(": "));
    if (!inside) return;
    const [x, y] = place.toScreen(host.at);
    context.beginPath();
    for (const [from, to] of [[[0, y], [x - 8, y]], [[x + 8, y], [place.width, y]], [[x, 0], [x, y - 8]], [[x, y + 8], [x, place.height]]]) {
      context.moveTo(...from);
      context.lineTo(...to);
    }
    outlined(context, "rgba(92, 179, 228, 0.9)", devicePixelRatio);
  }
}

const signedShort = (value) => `${value >= 0 ? "+" : "−"}${Math.abs(value).toPrecision(2)}`;

function drawComparedScale(canvas, colours) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  for (let i = 0; i < 256; i++) image.data.set([...colours.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  context.putImageData(image, 0, 0);
}

const comparisons = new WeakMap();

export default function mount({ data, parentElement }) {
  const root = parentElement.querySelector(".radlens-compare");
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const before = comparisons.get(root);
  const same = before?.bytes.length === bytes.length && before.bytes.every((byte, i) => byte === bytes[i]);
  if (!same) {
    before?.view.close();
    const kept = bytes.slice();
    comparisons.set(root, { bytes: kept, view: new Compared(root, unpack(kept)) });
  }
  return () => {
    comparisons.get(root)?.view.close();
    comparisons.delete(root);
  };
}
