// What has to be drawn again, and the drawing: once for each of the browser's frames, whatever has changed.

const LEAST_HEIGHT = 380;
// Of the window's height; a stack's slider shall be in sight below.
const MOST_HEIGHT = 0.78;
const MOST_HEIGHT_OF_STACK = 0.7;
const FULLSCREEN_EDGE = 24;
const KEPT_TIMES = 200;
// What else is out of date when one part is.
const FOLLOWERS = {
  sample: ["heat", "paint", "marks", "controls"], heat: ["paint", "marks", "controls", "words"],
  table: ["paint", "marks", "controls"], tones: ["paint", "controls"], paint: ["marks", "controls"],
};

class Refresh {
  constructor(viewer, signal) {
    Object.assign(this, { viewer, times: [], stale: new Set() });
    this.stage = viewer.one(".stage");
    const resizing = new ResizeObserver(() => this.change(["layout"]));
    resizing.observe(viewer.one(".body"));
    document.addEventListener("fullscreenchange", () => this.change(["layout"]), { signal });
    window.addEventListener("resize", () => this.change(["layout"]), { signal });
    signal.addEventListener("abort", () => {
      resizing.disconnect();
      cancelAnimationFrame(this.waiting);
    });
  }

  change(parts) {
    if (parts.includes("sample")) this.#place();
    for (const part of parts) {
      if (this.stale.has(part)) continue;
      this.stale.add(part);
      this.change(FOLLOWERS[part] ?? []);
    }
    this.waiting ??= requestAnimationFrame(() => guarded(this.viewer, () => this.now()));
  }

  // As high as the picture needs at the pane's width, between what is readable and what fits the window.
  #layOut() {
    const { viewer } = this;
    const { columns, rows, aspect } = viewer.picture();
    const width = this.stage.clientWidth;
    const most = window.innerHeight * (viewer.header.frames > 1 ? MOST_HEIGHT_OF_STACK : MOST_HEIGHT);
    const wanted = document.fullscreenElement === null
      ? Math.min((width * rows * aspect[1]) / (columns * aspect[0]), most)
      : window.innerHeight - FULLSCREEN_EDGE - (viewer.one(".body").offsetHeight - this.stage.offsetHeight);
    const height = Math.round(Math.max(LEAST_HEIGHT, wanted));
    this.stage.style.height = `${height}px`;
    const [across, down] = [width, height].map((side) => Math.max(1, Math.round(side * devicePixelRatio)));
    const { screen, header, canvas } = viewer;
    if (screen.width === across && screen.height === down) return;
    screen.resize(across, down, header.samples);
    Object.assign(canvas, { width: across, height: down });
    this.change(["sample"]);
  }

  // At once, not at the next drawing: the next event counts from it.
  #place() {
    const { viewer } = this;
    const { width, height } = viewer.screen;
    viewer.place = new Placement(viewer.picture(), viewer.zoom(), viewer.view.centre, width, height);
  }

  now() {
    this.waiting = null;
    const started = performance.now();
    const { viewer, stale } = this;
    if (stale.has("layout")) this.#layOut();
    const timed = ["sample", "heat", "table", "tones", "paint"].some((part) => stale.has(part));
    this.#prepare();
    if (viewer.view.planes) viewer.planes.forEach((plane) => plane.draw(stale.has("sample")));
    else if (stale.has("paint")) this.#paint();
    if (timed) this.#note(performance.now() - started);
    if (stale.has("marks") && !viewer.view.planes) this.#mark();
    if (stale.has("controls")) viewer.controls.update();
    if (stale.has("words")) setText(viewer.one(".caption"), heatInWords(viewer).join("\n"));
    setText(viewer.one(".probe"), probeInWords(viewer));
    this.#write();
    stale.clear();
  }

  #prepare() {
    const { viewer, stale } = this;
    const { view, look } = viewer;
    if (stale.has("tones")) viewer.tones.set(view.window, view.invert);
    if (stale.has("table") && viewer.maps) viewer.table.set(viewer.maps.scales, look);
    if (stale.has("sample")) this.#sample();
    if (stale.has("heat") && viewer.heatShown()) {
      viewer.screen.sampleHeat(viewer.maps, viewer.maps.map(view.label), viewer.place);
    }
  }

  #sample() {
    const { viewer } = this;
    const { frames, view, look } = viewer;
    const from = frames.full(view.frame) ?? frames.small(view.frame)?.stored.byteOffset;
    if (from !== this.sampledFrom) viewer.pyramids = pyramidsOf(frames, view.frame);
    this.sampledFrom = from;
    if (!view.planes) viewer.screen.sample(viewer.pyramids, viewer.place, look.smooth);
  }

  #paint() {
    const { viewer } = this;
    const coloured = viewer.heatShown() && !viewer.look.contour;
    const { width } = viewer.screen;
    viewer.screen.paint(viewer.tones, viewer.table, coloured ? viewer.heatFrom(viewer.place) : width);
  }

  #note(duration) {
    this.times.push(duration);
    if (this.times.length > KEPT_TIMES) this.times.shift();
    this.viewer.root.dataset.drawMs = duration.toFixed(2);
  }

  #mark() {
    const { viewer } = this;
    const { header, view, place } = viewer;
    drawOver(viewer, viewer.canvas.getContext("2d"), place, devicePixelRatio);
    placeMarks(viewer.one(".single"), edgeMarks(header.orientation, view.turn));
    const divider = viewer.one(".divider");
    divider.hidden = view.swipe === null || !(viewer.heatShown() || viewer.outlineShown() || placesShown(viewer));
    divider.style.left = `${100 * (view.swipe ?? 0)}%`;
    divider.setAttribute("aria-valuenow", String(Math.round(100 * (view.swipe ?? 0))));
  }

  // The corners, the canvas' name and the attributes that tests and other scripts read.
  #write() {
    const { viewer } = this;
    const { header, view, frames } = viewer;
    const { centre, width } = viewer.shownWindow();
    const grey = header.samples === 1;
    setText(viewer.one(".facts"), grey ? viewer.say("viewer.facts", { w: short(width), c: short(centre) }) : "");
    setText(viewer.one(".position"), header.frames > 1 ? viewer.position() : "");
    setText(viewer.one(".note"), notes(viewer).join("\n"));
    const words = [viewer.say("viewer.canvas"), outlineInWords(viewer), placesInWords(viewer), viewer.one(".caption").textContent];
    viewer.canvas.setAttribute("aria-label", words.filter(Boolean).join(" "));
    Object.assign(viewer.root.dataset, {
      id: header.id, frame: view.frame, zoom: Math.round(viewer.zoomPercent()), window: `${centre}/${width}`,
      label: view.label ?? "", preview: String(!frames.full(view.frame)), ready: "true",
    });
  }
}

function notes(viewer) {
  const { header, view, frames, maps, outlines, look, say } = viewer;
  const found = [];
  if (outlines && viewer.heatIsHere() && !outlines.of(view.label)?.size) found.push(say("viewer.outline_nothing"));
  if (!frames.full(view.frame)) found.push(say(frames.broken ? "viewer.not_loaded" : "viewer.preview"));
  if (maps && look[viewer.heatSwitch()] && !viewer.heatIsHere()) found.push(say("viewer.no_heat_here"));
  if (!header.orientation) found.push(say("viewer.orientation_unknown"));
  return found;
}
