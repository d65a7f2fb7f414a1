// What the buttons do; keys call the same.

const ZOOM_STEP = 1.25;

const ACTIONS = {
  zoomIn: (viewer) => viewer.zoomBy(ZOOM_STEP),
  zoomOut: (viewer) => viewer.zoomBy(1 / ZOOM_STEP),
  fit: (viewer) => viewer.setView({ zoom: null, centre: viewer.middle() }, "sample"),
  native: (viewer) => viewer.zoomTo(1),
  invert: (viewer) => viewer.setView({ invert: !viewer.view.invert }, "tones"),
  rotateRight: (viewer) => viewer.turn("right"),
  rotateLeft: (viewer) => viewer.turn("left"),
  flipHorizontal: (viewer) => viewer.turn("horizontal"),
  flipVertical: (viewer) => viewer.turn("vertical"),
  reset: (viewer) => viewer.reset(),
  heat: (viewer) => viewer.setLook({ [viewer.heatSwitch()]: !viewer.look[viewer.heatSwitch()] }, "heat"),
  outline: (viewer) => viewer.setLook({ outline: !viewer.look.outline }, "marks", "controls"),
  places: (viewer) => viewer.setLook({ places: !viewer.look.places }, "marks", "controls"),
  colour: (viewer) => viewer.setLook({ contour: false }, "paint"),
  contour: (viewer) => viewer.setLook({ contour: true }, "paint"),
  swipe: (viewer) => viewer.setView({ swipe: viewer.view.swipe === null ? 0.5 : null }, "paint"),
  planes: (viewer) => viewer.togglePlanes(),
  play: (viewer) => viewer.play(!viewer.playing),
  more: (viewer) => viewer.controls.togglePopover("more"),
  help: (viewer) => viewer.controls.togglePopover("help"),
  clearRegion: (viewer) => viewer.region.clear(),
  download: (viewer) => download(viewer),
  fullscreen: (viewer) => (document.fullscreenElement ? document.exitFullscreen() : viewer.root.requestFullscreen()),
};

// The divider between the plain picture and the one with heat.
function listenToDivider(viewer, divider, signal) {
  const on = (name, handler) => divider.addEventListener(name, handler, { signal });
  const move = (share) => viewer.setView({ swipe: clamp(share, 0, 1) }, "paint");
  on("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
  on("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = divider.parentElement.getBoundingClientRect();
    move((event.clientX - box.left) / box.width);
  });
  on("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    move(viewer.view.swipe + step);
  });
}
