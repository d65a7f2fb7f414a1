// The viewer of one case: its state and every change of it.

const REPORT_MS = 350;
const LEAST_ZOOM = 0.02;
const MOST_ZOOM = 40;

class Viewer {
  constructor(component, message) {
    this.component = component;
    this.message = message;
    this.header = message.header;
    this.section = message.section;
    this.root = component.parentElement.querySelector(".radlens-viewer");
    this.look = shared.look;
    this.view = viewOf(this.header);
    this.crosshair = [Math.floor(this.header.columns / 2), Math.floor(this.header.rows / 2), this.view.frame];
    this.say = (key, values) => fill(this.header.texts?.[key] ?? key, values);
    this.reported = this.header.frame ?? 0;
    this.listeners = new AbortController();
    try {
      this.#start();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #start() {
    const { signal } = this.listeners;
    this.tones = new Tones(this.message);
    this.table = new HeatTable();
    this.frames = new Frames(this.message, (first, count) => this.#arrived(first, count));
    this.canvas = this.one(".single .drawing");
    this.screen = new Screen(this.one(".single .pixels"));
    this.refresh = new Refresh(this, signal);
    this.lengths = new Lengths(this);
    this.region = new Region(this);
    this.controls = new Controls(this, signal);
    this.pointer = new Pointer(this, this.canvas, signal);
    this.strip = new Strip(this, signal);
    listenToDivider(this, this.one(".divider"), signal);
    this.root.addEventListener("keydown", (event) => onKey(this, event), { signal });
    document.addEventListener("radlens-message", ({ detail }) => {
      if (detail.id === this.header.id) guarded(this, () => this.takeMessages());
    }, { signal });
    this.takeMessages();
    this.frames.seek(this.view.frame);
    this.#reportSoon();
    this.#openPlanes();
    this.change("layout", "tones", "table");
    this.refresh.now();
  }

  close() {
    clearInterval(this.playing);
    clearTimeout(this.reporting);
    this.listeners.abort();
    this.frames?.close();
  }

  one(selector) {
    return this.root.querySelector(selector);
  }

  // --- messages

  takeMessages() {
    const arrived = this.#message("maps");
    if (arrived !== this.mapsMessage) {
      this.mapsMessage = arrived;
      this.maps = arrived && new HeatMaps(arrived, this.header);
      this.outlines = arrived?.header.masks ? new Outlines(arrived, this.header) : null;
      this.controls.fillLabels();
      if (this.maps && !this.label()) this.view.label = this.maps.header.label;
    }
    this.strip.take(this.#message("strip"));
    this.asked = this.#message("asked");
    this.#sayRegion();
    this.change("heat", "table");
  }

  // A panel that was opened just now does not know yet what is marked.
  #sayRegion() {
    const asking = shared.askers.has(this.header.id);
    if (asking && !this.wasAsking && this.region.here()) this.region.send();
    this.wasAsking = asking;
  }

  #message(kind) {
    const held = shared.messages.get(`${this.header.id}:${kind}`);
    if (held) held.unpacked ??= unpack(held.bytes);
    return held?.unpacked ?? null;
  }

  label() {
    return this.maps?.header.labels.find(({ code }) => code === this.view.label) ?? null;
  }

  heatIsHere() {
    return this.maps?.frame === this.view.frame;
  }

  // Where there is an outline, it comes first: the heatmap has a switch of its own there.
  heatSwitch() {
    return this.outlines ? "heatOfOutline" : "heat";
  }

  outlineShown() {
    const drawn = this.look.outline && this.outlines?.of(this.view.label)?.size;
    return Boolean(drawn && this.heatIsHere() && !this.view.planes);
  }

  heatShown() {
    const label = this.label();
    return Boolean(this.look[this.heatSwitch()] && label && !label.outcome && this.heatIsHere() && !this.view.planes);
  }

  // The first column with heat on the screen of ``place``, which the divider crosses at the same point of the picture.
  heatFrom(place) {
    if (this.view.swipe === null) return 0;
    const divider = this.place.toPicture([this.view.swipe * this.screen.width, this.screen.height / 2]);
    return clamp(Math.round(place.toScreen(divider)[0]), 0, place.width);
  }

  contourLines() {
    const { look, view } = this;
    const key = JSON.stringify([view.label, look.signed, look.threshold]);
    if (this.contourKey !== key || this.contourMaps !== this.maps) {
      Object.assign(this, { contourKey: key, contourMaps: this.maps });
      this.contourHeld = contours(this.maps, this.maps.map(view.label), look);
    }
    return this.contourHeld;
  }

  // --- changes by the reader

  change(...parts) {
    this.refresh.change(parts);
  }

  probe(point) {
    this.probed = point;
    this.change("probe", ...(this.tool() === "brush" ? ["marks"] : []));
  }

  // A button's action, also by its key: what is disabled does nothing.
  act(name) {
    if (!this.one(`[data-do=${name}]`)?.disabled) ACTIONS[name](this);
  }

  setView(values, ...parts) {
    Object.assign(this.view, values);
    this.change(...parts);
  }

  setLook(values, ...parts) {
    Object.assign(this.look, values);
    this.change(...parts);
  }

  // Whether places may be marked: the panel that asks about them is open, and the frame in front was answered, where that matters.
  asking() {
    const asker = shared.askers.get(this.header.id);
    return Boolean(asker && (asker.unanswered || this.heatIsHere()) && !this.view.planes);
  }

  tool() {
    const wanted = REGION_TOOLS.includes(this.look.tool) && !this.asking() ? "window" : this.look.tool;
    return this.header.samples === 3 && wanted === "window" ? "pan" : wanted;
  }

  setBrush(share) {
    this.setLook({ brush: clamp(share, LEAST_BRUSH, MOST_BRUSH) }, "marks", "controls");
  }

  // The last mark of the tool in hand.
  drop() {
    if (REGION_TOOLS.includes(this.tool())) this.region.clear();
    else this.lengths.drop();
  }

  // The keyboard's press with the tool in hand.
  placeCursor() {
    if (this.tool() === "length") this.lengths.placeCursor();
    else if (REGION_TOOLS.includes(this.tool())) this.region.place((this.lengths.cursor ??= [...this.view.centre]));
  }

  setTool(tool) {
    this.pointer.cancel();
    this.lengths.leave();
    this.region.leave();
    this.setLook({ tool }, "marks", "controls");
  }

  setLabel(code) {
    this.setView({ label: code }, "heat");
    this.strip.draw();
  }

  // The window in numbers, also while the file's own table is shown.
  shownWindow() {
    const { window } = this.view;
    const inNumbers = ({ centre, width }) => Number.isFinite(centre) && Number.isFinite(width);
    return [window, ...(this.header.windows ?? [])].find(inNumbers) ?? { centre: 0.5, width: 1, function: "LINEAR_EXACT" };
  }

  setWindow(centre, width) {
    if (!Number.isFinite(centre) || !Number.isFinite(width)) return this.change("controls");
    const name = this.shownWindow().function ?? "LINEAR";
    this.setView({ window: { centre, width: Math.max(width, name === "LINEAR" ? 1 : 1e-6), function: name } }, "tones");
  }

  // From a known window by a share of its width and a factor, to numbers that are easy to read.
  shiftWindow(centreShare, widthFactor, { centre, width } = this.shownWindow()) {
    const wide = width * widthFactor;
    const tidy = (value) => (wide >= 50 ? Math.round(value) : Number(value.toPrecision(4)));
    this.setWindow(tidy(centre + centreShare * width), tidy(wide));
  }

  choosePreset(index) {
    const preset = this.header.windows?.[index];
    if (preset) this.setView({ window: { ...preset } }, "tones");
  }

  middle() {
    return [this.header.columns / 2, this.header.rows / 2];
  }

  picture() {
    const { rows, columns, spacing } = this.header;
    return { rows, columns, aspect: aspectOf(spacing), turn: this.view.turn };
  }

  zoom() {
    return this.view.zoom ?? fitZoom(this.picture(), this.screen.width, this.screen.height);
  }

  zoomPercent() {
    return 100 * this.zoom();
  }

  zoomBy(factor, at) {
    this.zoomTo(this.zoom() * factor, at);
  }

  // Zooms around a point of the screen, which stays where it is.
  zoomTo(wanted, at = [this.screen.width / 2, this.screen.height / 2]) {
    const zoom = clamp(wanted, LEAST_ZOOM, MOST_ZOOM);
    const held = this.place.toPicture(at);
    const after = new Placement(this.picture(), zoom, this.view.centre, this.screen.width, this.screen.height);
    const moved = after.toPicture(at);
    const centre = this.view.centre.map((value, axis) => value + held[axis] - moved[axis]);
    this.setView({ zoom, centre }, "sample");
  }

  panBy(x, y) {
    const [from, to] = [this.place.toPicture([0, 0]), this.place.toPicture([x, y])];
    const size = [this.header.columns, this.header.rows];
    const centre = this.view.centre.map((value, axis) => clamp(value + from[axis] - to[axis], 0, size[axis]));
    this.setView({ zoom: this.zoom(), centre }, "sample");
  }

  turn(name) {
    this.setView({ turn: combined(TURNS[name], this.view.turn) }, "sample");
  }

  reset() {
    const window = { ...(this.header.windows?.[0] ?? this.view.window) };
    const place = { zoom: null, centre: this.middle(), turn: [1, 0, 0, 1] };
    this.setView({ ...place, window, invert: false, swipe: null }, "sample", "tones");
  }

  leave() {
    if (this.controls.closePopovers()) return;
    this.setTool("window");
  }

  // --- frames

  position() {
    const key = this.header.slice_spacing ? "viewer.slice" : "viewer.frame";
    return this.say(key, { n: this.view.frame + 1, total: this.header.frames });
  }

  goTo(frame) {
    const to = clamp(frame, 0, this.header.frames - 1);
    if (to === this.view.frame) return;
    this.view.frame = to;
    this.crosshair[2] = to;
    this.frames.seek(to);
    this.strip.draw();
    this.change("sample");
    this.#reportSoon();
  }

  #reportSoon() {
    clearTimeout(this.reporting);
    this.reporting = setTimeout(() => this.#report(), REPORT_MS);
  }

  #report() {
    if (this.playing || !this.header.report_frame || this.reported === this.view.frame) return;
    this.reported = this.view.frame;
    this.component.setStateValue("frame", this.view.frame);
  }

  #arrived(first, count) {
    const { frame, planes } = this.view;
    if (planes || (frame >= first && frame < first + count)) this.change("sample");
    else this.change("controls");
  }

  play(on) {
    clearInterval(this.playing);
    this.playing = null;
    if (on && this.header.frames > 1) this.#playAt(this.look.speed);
    else this.#reportSoon();
    this.change("controls");
  }

  #playAt(speed) {
    this.playing = setInterval(() => {
      if (speed !== this.look.speed) return this.play(true);
      this.goTo((this.view.frame + 1) % this.header.frames);
    }, 1000 / speed);
  }

  // --- planes

  togglePlanes() {
    if (!canReformat(this.header)) return;
    this.view.planes = !this.view.planes;
    this.#openPlanes();
    this.change("sample");
  }

  #openPlanes() {
    const host = this.one(".planes");
    this.view.planes &&= canReformat(this.header);
    host.hidden = !this.view.planes;
    this.one(".single").hidden = this.view.planes;
    if (!this.view.planes || this.planes) return;
    const template = this.one("template");
    host.replaceChildren(...PLANE_AXES.map(() => template.content.firstElementChild.cloneNode(true)));
    this.planes = [...host.children].map((pane, index) => new Plane(this, pane, index));
    this.planes.forEach((plane) => listenToPlane(plane, this.listeners.signal));
  }

  moveCrosshair(to) {
    this.crosshair = to;
    this.goTo(to[2]);
    this.change("sample");
  }
}
