// Mouse, pen and touch on the picture. Positions are in screen pixels of the canvas.

const WINDOW_PIXELS = 300;
const WHEEL_STEP = 0.0015;

function pointAt(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
}

class Pointer {
  constructor(viewer, canvas, signal) {
    Object.assign(this, { viewer, canvas, touches: new Map(), drag: null, turned: 0 });
    const on = (name, handler, options = {}) => canvas.addEventListener(name, handler, { signal, ...options });
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#up(event));
    on("pointercancel", (event) => this.#up(event));
    on("pointerleave", () => viewer.probe(null));
    on("wheel", (event) => this.#wheel(event), { passive: false });
    // The browser's own scrolling by the middle button.
    on("mousedown", (event) => event.button === 1 && event.preventDefault());
  }

  cancel() {
    if (this.drag?.line) this.viewer.lengths.drop();
    if (REGION_TOOLS.includes(this.drag?.tool)) this.viewer.region.cancel();
    this.drag = null;
  }

  #down(event) {
    if (event.button === 2) return;
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    const at = pointAt(this.canvas, event);
    this.touches.set(event.pointerId, at);
    if (this.touches.size === 2) {
      this.cancel();
      this.drag = { tool: "pinch" };
      return;
    }
    const tool = event.button === 1 ? "pan" : this.viewer.tool();
    this.drag = { tool, at, start: at, window: { ...this.viewer.shownWindow() } };
    if (tool === "length") this.#startLine(at);
    if (REGION_TOOLS.includes(tool)) this.#startRegion(at);
  }

  #move(event) {
    const at = pointAt(this.canvas, event);
    this.viewer.probe(this.viewer.place.toPicture(at));
    const { drag } = this;
    if (!drag) return;
    if (drag.tool === "pinch") return this.#pinch(event.pointerId, at);
    this[`_${drag.tool}`](drag, at);
    drag.at = at;
  }

  #up(event) {
    this.touches.delete(event.pointerId);
    if (this.drag?.line) this.viewer.lengths.end(this.drag.line);
    if (REGION_TOOLS.includes(this.drag?.tool)) this.viewer.region.end();
    this.drag = null;
  }

  #pinch(id, at) {
    const distance = () => {
      const [[x0, y0], [x1, y1]] = [...this.touches.values()];
      return Math.hypot(x1 - x0, y1 - y0);
    };
    const before = distance();
    const was = this.touches.get(id);
    this.touches.set(id, at);
    const [[x0, y0], [x1, y1]] = [...this.touches.values()];
    this.viewer.panBy((at[0] - was[0]) / 2, (at[1] - was[1]) / 2);
    this.viewer.zoomBy(distance() / Math.max(before, 1), [(x0 + x1) / 2, (y0 + y1) / 2]);
  }

  _window({ start, window }, at) {
    const ratio = devicePixelRatio * WINDOW_PIXELS;
    this.viewer.shiftWindow((at[1] - start[1]) / ratio, Math.exp((at[0] - start[0]) / ratio), window);
  }

  _pan(drag, at) {
    this.viewer.panBy(at[0] - drag.at[0], at[1] - drag.at[1]);
  }

  _zoom(drag, at) {
    this.viewer.zoomBy(Math.exp((drag.at[1] - at[1]) / (devicePixelRatio * 150)), drag.start);
  }

  _length(drag, at) {
    drag.line.to = this.viewer.place.toPicture(at);
    this.viewer.change("marks");
  }

  _brush(drag, at) {
    this.viewer.region.strokeTo(...[drag.at, at].map((point) => this.viewer.place.toPicture(point)));
  }

  _box({ start }, at) {
    this.viewer.region.boxTo(...[start, at].map((point) => this.viewer.place.toPicture(point)));
  }

  #startRegion(at) {
    this.viewer.region.begin();
    this[`_${this.drag.tool}`](this.drag, at);
  }

  #startLine(at) {
    const from = this.viewer.place.toPicture(at);
    this.drag.line = this.viewer.lengths.add(from);
  }

  #wheel(event) {
    event.preventDefault();
    const pixels = wheelPixels(event);
    const { viewer } = this;
    if (viewer.header.frames === 1 || event.ctrlKey || viewer.tool() === "zoom") {
      viewer.zoomBy(Math.exp(-pixels * WHEEL_STEP * (event.ctrlKey ? 4 : 1)), pointAt(this.canvas, event));
      return;
    }
    this.turned = wheelSteps(this.turned + pixels, (steps) => viewer.goTo(viewer.view.frame + steps));
  }
}

const wheelPixels = ({ deltaY, deltaMode }) => deltaY * (deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1);

// A notch of a wheel is one step; a trackpad's many small moves add up to steps. Returns what is left over.
function wheelSteps(turned, act) {
  const notch = 50;
  const steps = Math.trunc(turned / notch);
  if (steps) act(clamp(steps, -1, 1) * Math.max(1, Math.floor(Math.abs(steps) / 2)));
  return turned - steps * notch;
}

// One pane of the reformatted planes: press or drag moves the crosshair, the wheel goes through parallel planes.
function listenToPlane(plane, signal) {
  const canvas = plane.pane.querySelector(".drawing");
  const on = (name, handler, options = {}) => canvas.addEventListener(name, handler, { signal, ...options });
  let turned = 0;
  on("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    plane.point(...pointAt(canvas, event));
  });
  on("pointermove", (event) => event.buttons === 1 && plane.point(...pointAt(canvas, event)));
  on("wheel", (event) => {
    event.preventDefault();
    turned = wheelSteps(turned + wheelPixels(event), (steps) => plane.step(steps));
  }, { passive: false });
  on("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowLeft: -1, PageUp: -1, ArrowDown: 1, ArrowRight: 1, PageDown: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    plane.step(step);
  });
}
