// Toolbars and menus: their words, what they do, and how they follow the viewer's state.

const SPEEDS = [2, 5, 10, 15, 20, 30];

function putWords(viewer, root) {
  for (const element of root.querySelectorAll("[data-words]")) element.textContent = viewer.say(element.dataset.words);
  for (const element of root.querySelectorAll("[data-name]")) {
    const words = viewer.say(element.dataset.name);
    element.setAttribute("aria-label", words);
    if (element.matches("button, select, input, output, .divider")) element.title = words;
  }
}

function option(value, words) {
  const made = document.createElement("option");
  Object.assign(made, { value, textContent: words });
  return made;
}

class Controls {
  constructor(viewer, signal) {
    Object.assign(this, { viewer, signal, root: viewer.root });
    putWords(viewer, this.root);
    listKeys(viewer, this.one(".help dl"));
    this.#fillMenus();
    this.#listen();
    this.#hideWhatIsMissing();
  }

  one(selector) {
    return this.root.querySelector(selector);
  }

  #fillMenus() {
    const { header } = this.viewer;
    const windows = (header.windows ?? []).map((window, i) => option(String(i), window.name));
    this.one(".preset").replaceChildren(...windows, option("own", this.viewer.say("viewer.preset_own")));
    const rate = header.frame_rate && Math.round(header.frame_rate);
    const speeds = [...new Set([...SPEEDS, ...(rate ? [rate] : [])])].sort((a, b) => a - b);
    const choices = speeds.map((speed) => option(String(speed), this.viewer.say("viewer.fps", { n: speed })));
    this.one(".speed").replaceChildren(...choices);
    this.one("input.frame").max = header.frames - 1;
  }

  fillLabels() {
    const labels = this.viewer.maps?.header.labels ?? [];
    const options = labels.map(({ code, words, score }) => option(code, score ? `${words} · ${score}` : words));
    this.one(".label").replaceChildren(...options);
    this.one(".fit-only").hidden = !this.viewer.maps?.seen;
  }

  #hideWhatIsMissing() {
    const { header, section } = this.viewer;
    const hide = (selector, missing) => {
      for (const element of this.root.querySelectorAll(selector)) element.hidden = missing;
    };
    hide(".grey-only, [data-tool=window]", header.samples === 3);
    hide(".stack-only", !canReformat(header));
    hide(".slices", header.frames === 1);
    hide(".graphics-only", !section("overlay"));
    hide("[data-do=fullscreen]", !document.fullscreenEnabled);
  }

  #listen() {
    const { viewer } = this;
    const { signal } = this;
    const on = (selector, name, handler) => this.one(selector).addEventListener(name, handler, { signal });
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button?.dataset.tool) viewer.setTool(button.dataset.tool);
      else if (button?.dataset.do) viewer.act(button.dataset.do);
      if (!event.target.closest(".popover, [data-do=more], [data-do=help]")) this.closePopovers();
    }, { signal });
    on(".preset", "change", ({ target }) => viewer.choosePreset(Number(target.value)));
    on(".label", "change", ({ target }) => viewer.setLabel(target.value));
    on(".opacity", "input", ({ target }) => viewer.setLook({ opacity: target.value / 100 }, "table"));
    on(".threshold", "input", ({ target }) => viewer.setLook({ threshold: target.value / 100 }, "table"));
    on(".evidence-for", "change", () => viewer.setLook({ signed: false }, "table"));
    on(".evidence-signed", "change", () => viewer.setLook({ signed: true }, "table"));
    on(".place-boxes", "change", () => viewer.setLook({ placeContours: false }, "marks", "controls"));
    on(".place-contours", "change", () => viewer.setLook({ placeContours: true }, "marks", "controls"));
    on(".smooth", "change", ({ target }) => viewer.setLook({ smooth: target.checked }, "sample"));
    on(".graphics", "change", ({ target }) => viewer.setLook({ graphics: target.checked }, "marks"));
    on(".model-sees", "change", ({ target }) => viewer.setView({ fit: target.checked }, "marks"));
    on(".width", "change", ({ target }) => viewer.setWindow(viewer.shownWindow().centre, Number(target.value)));
    on(".centre", "change", ({ target }) => viewer.setWindow(Number(target.value), viewer.shownWindow().width));
    on("input.brush", "input", ({ target }) => viewer.setBrush(target.value / 100));
    on("input.frame", "input", ({ target }) => viewer.goTo(Number(target.value)));
    on(".speed", "change", ({ target }) => viewer.setLook({ speed: Number(target.value) }, "controls"));
  }

  togglePopover(name) {
    const popover = this.one(`.popover.${name}`);
    const button = this.one(`[data-do=${name}]`);
    const opened = popover.hidden;
    this.closePopovers();
    popover.hidden = !opened;
    popover.style.top = `${button.offsetTop + button.offsetHeight + 6}px`;
    button.setAttribute("aria-expanded", String(opened));
    if (opened) popover.querySelector("input, button")?.focus();
  }

  // Whether one was open; the focus goes back to its button.
  closePopovers() {
    const open = [...this.root.querySelectorAll(".popover:not([hidden])")];
    for (const popover of open) {
      const button = this.one(`[data-do=${popover.classList[1]}]`);
      if (popover.contains(this.root.getRootNode().activeElement)) button.focus();
      popover.hidden = true;
      button.setAttribute("aria-expanded", "false");
    }
    return open.length > 0;
  }

  update() {
    const { viewer } = this;
    const { look, view } = viewer;
    const press = (name, pressed) => this.one(`[data-do=${name}]`).setAttribute("aria-pressed", String(Boolean(pressed)));
    for (const button of this.root.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === viewer.tool()));
    }
    press("invert", view.invert);
    press("planes", view.planes);
    press("heat", look[viewer.heatSwitch()]);
    press("outline", look.outline);
    press("places", look.places);
    press("colour", !look.contour);
    press("contour", look.contour);
    press("swipe", view.swipe !== null);
    press("play", viewer.playing);
    for (const element of this.root.querySelectorAll(".single-only, .single-only button")) element.disabled = view.planes;
    this.#updateValues();
    this.root.dataset.toolNow = viewer.tool();
    this.#updateHeat();
    this.#updateAsking();
  }

  #updateAsking() {
    const { viewer } = this;
    this.one(".ask-bar").hidden = !viewer.asking();
    this.one("input.brush").value = Math.round(100 * viewer.look.brush);
    this.one("[data-do=clearRegion]").disabled = !viewer.region.here();
    setText(this.one(".asked"), viewer.asking() ? askedInWords(viewer) : "");
  }

  #updateValues() {
    const { viewer } = this;
    const { look, view } = viewer;
    const { centre, width } = viewer.shownWindow();
    const preset = this.#presetIndex();
    this.one(".preset").value = preset >= 0 ? String(preset) : "own";
    this.one("input.width").value = Number(width.toPrecision(6));
    this.one("input.centre").value = Number(centre.toPrecision(6));
    this.one("output.zoom").value = `${Math.round(viewer.zoomPercent())} %`;
    this.one("input.opacity").value = Math.round(100 * look.opacity);
    this.one("input.threshold").value = Math.round(100 * look.threshold);
    this.one(".threshold-value").value = `${Math.round(100 * look.threshold)} %`;
    this.one(look.signed ? ".evidence-signed" : ".evidence-for").checked = true;
    this.one(".smooth").checked = look.smooth;
    this.one(".graphics").checked = look.graphics;
    this.one(".model-sees").checked = view.fit;
    this.one("input.frame").value = view.frame;
    this.one(".frame-value").value = viewer.position();
    this.one(".speed").value = look.speed;
  }

  #presetIndex() {
    const { window } = this.viewer.view;
    const windows = this.viewer.header.windows ?? [];
    if (window.lut) return windows.findIndex(({ lut }) => lut);
    return windows.findIndex((preset) =>
      !preset.lut && ["centre", "width", "function"].every((name) => preset[name] === window[name]));
  }

  #updateHeat() {
    const { viewer } = this;
    const there = Boolean(viewer.maps?.header.labels.length);
    for (const element of this.root.querySelectorAll(".heat-bar, .heat-only")) element.hidden = !there;
    if (there) this.one(".label").value = viewer.view.label;
    const button = this.one("[data-do=outline]");
    button.hidden = !viewer.outlines;
    button.disabled = !viewer.outlines;
    this.#updatePlaces();
    this.#updateLegend();
  }

  // The switch is there for a model that draws places, whatever label is chosen.
  #updatePlaces() {
    const { viewer } = this;
    const there = Boolean(viewer.maps?.header.labels.some(({ places }) => places));
    for (const element of this.root.querySelectorAll("[data-do=places], .places-only")) element.hidden = !there;
    this.one("[data-do=places]").disabled = !there;
    this.one(viewer.look.placeContours ? ".place-contours" : ".place-boxes").checked = true;
    const legend = this.one(".place-legend");
    legend.hidden = !placesInWords(viewer);
    legend.querySelector(".swatch").hidden = !placesShown(viewer);
    setText(legend.querySelector(".meaning"), placesInWords(viewer));
  }

  #updateLegend() {
    const { viewer } = this;
    const { maps, look } = viewer;
    const outline = this.one(".outline-legend");
    outline.hidden = !outlineInWords(viewer);
    outline.querySelector(".swatch").hidden = !viewer.outlineShown();
    setText(outline.querySelector(".meaning"), outlineInWords(viewer));
    const legend = this.one(".legend");
    legend.hidden = !viewer.heatShown();
    if (legend.hidden) return;
    const words = legendWords(viewer);
    for (const part of ["low", "high", "unit"]) legend.querySelector(`.${part}`).textContent = words[part];
    drawScale(legend.querySelector("canvas"), look.signed ? maps.scales.signed : maps.scales.for);
  }
}

function legendWords({ maps, look, say }) {
  const { limit, unit, method, per_scan: perScan } = maps.header;
  const meaning = say(look.signed ? "viewer.legend_signed" : "viewer.legend_for", { unit });
  return {
    low: look.signed ? `−${short(limit)}` : "0", high: look.signed ? `+${short(limit)}` : short(limit),
    unit: [method ? `${method}: ` : "", meaning, perScan ? `; ${say("viewer.legend_per_scan")}` : ""].join(""),
  };
}

function drawScale(canvas, colours) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  for (let i = 0; i < 256; i++) image.data.set([colours[3 * i], colours[3 * i + 1], colours[3 * i + 2], 255], 4 * i);
  context.putImageData(image, 0, 0);
}
