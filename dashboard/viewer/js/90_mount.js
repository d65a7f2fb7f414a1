// Called at every rerun of the page: the same case in the same version stays as it is.

// Runs ``work``; when it throws, the still picture takes the viewer's place.
function guarded(viewer, work) {
  try {
    work();
  } catch (error) {
    viewer.close();
    showStill(viewer.root, viewer.message, error);
  }
}

// For tests and for people at the console: ``radlens.viewer``.
function handle(viewer) {
  return {
    state: () => structuredClone({ view: viewer.view, look: viewer.look, crosshair: viewer.crosshair, zoom: viewer.zoom() }),
    drawTimes: () => [...viewer.refresh.times],
    pixel: (x, y) => pixelAt(viewer, x, y),
    lengths: () => viewer.lengths.here().map((line) => viewer.lengths.text(line)),
    setWindow: (centre, width) => viewer.setWindow(centre, width),
    setOpacity: (opacity) => viewer.setLook({ opacity }, "table"),
    setThreshold: (threshold) => viewer.setLook({ threshold }, "table"),
    setSigned: (signed) => viewer.setLook({ signed }, "table"),
    zoomTo: (zoom) => viewer.zoomTo(zoom),
    setLabel: (code) => viewer.setLabel(code),
    goTo: (frame) => viewer.goTo(frame),
    act: (name) => viewer.act(name),
    toPage: (point) => toPage(viewer, point),
    exported: () => drawnPicture(viewer).toDataURL("image/png"),
  };
}

// The composite's [r, g, b] at a pixel of the picture, drawn at 1:1.
function pixelAt(viewer, x, y) {
  viewer.refresh.now();
  const { screen, place } = composite(viewer, 1);
  const [column, row] = place.toScreen([x + 0.5, y + 0.5]).map(Math.floor);
  return [...screen.context.getImageData(column, row, 1, 1).data.slice(0, 3)];
}

// A point of the picture -> CSS pixels of the page.
function toPage(viewer, point) {
  const box = viewer.canvas.getBoundingClientRect();
  const [x, y] = viewer.place.toScreen(point);
  return [box.left + (x * box.width) / viewer.canvas.width, box.top + (y * box.height) / viewer.canvas.height];
}

function open(component, message, root) {
  root.querySelector(".still").hidden = true;
  root.querySelector(".body").hidden = false;
  delete root.dataset.failed;
  const viewer = new Viewer(component, message);
  shared.viewer = handle(viewer);
  return viewer;
}

// The page has taken the viewer away; its memory goes with it.
function leave(host, viewer) {
  viewer.close();
  if (shared.mounts.get(host) !== viewer) return;
  shared.mounts.delete(host);
  shared.viewer = null;
}

export default function mount(component) {
  const host = component.parentElement;
  const root = host.querySelector(".radlens-viewer");
  const before = shared.mounts.get(host);
  let message = null;
  try {
    message = unpack(component.data);
    const { id, version } = message.header;
    if (before?.root === root && before.header.id === id && before.header.version === version) {
      before.component = component;
      return () => leave(host, before);
    }
    before?.close();
    const viewer = open(component, message, root);
    shared.mounts.set(host, viewer);
    return () => leave(host, viewer);
  } catch (error) {
    shared.mounts.delete(host);
    showStill(root, message, error);
    return () => {};
  }
}
