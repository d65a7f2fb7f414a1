// Three planes through a stack, in mm. Axes: 0 along the columns of a slice, 1 along its rows, 2 across the slices.

const PLANE_AXES = [[0, 1], [0, 2], [1, 2]];
// How films hang: which patient's direction a screen axis runs towards in each plane.
const HANGING = { axial: ["L", "P"], coronal: ["L", "F"], sagittal: ["P", "F"] };
const NORMALS = { H: "axial", F: "axial", A: "coronal", P: "coronal", L: "sagittal", R: "sagittal" };

const canReformat = ({ frames, spacing, slice_spacing: gap }) => frames > 1 && Boolean(spacing) && Boolean(gap);

class Plane {
  constructor(viewer, pane, index) {
    const axes = PLANE_AXES[index];
    Object.assign(this, { viewer, pane, index, axes, normal: [0, 1, 2].find((axis) => !axes.includes(axis)) });
    this.screen = new Screen(pane.querySelector(".pixels"));
    this.drawing = pane.querySelector(".drawing").getContext("2d");
    this.#hang();
    const plane = viewer.say(`viewer.plane_${this.name}`);
    pane.querySelector(".plane-name").textContent = plane;
    pane.querySelector(".drawing").setAttribute("aria-label", viewer.say("viewer.plane_label", { plane }));
  }

  #hang() {
    const { orientation, slice_direction: across } = this.viewer.header;
    const letters = orientation && across ? [...orientation, across] : [];
    const plain = letters.length === 3 && letters.every((letter) => letter.length === 1);
    this.name = plain ? NORMALS[letters[this.normal]] : `own_${this.index}`;
    this.letters = plain ? this.axes.map((axis) => letters[axis]) : null;
    this.turn = plain ? hanging(this.letters, HANGING[this.name]) : [1, 0, 0, 1];
  }

  extent(axis) {
    const { header } = this.viewer;
    return [header.columns, header.rows, header.frames][axis];
  }

  spacing(axis) {
    const { spacing, slice_spacing: gap } = this.viewer.header;
    return [spacing[1], spacing[0], gap][axis];
  }

  // The plane through the crosshair as one pyramid per channel, from full frames where they are, else from previews.
  pyramids() {
    const { frames, header, crosshair } = this.viewer;
    if (this.index === 0) return pyramidsOf(frames, crosshair[2]);
    const width = this.extent(this.axes[0]);
    return Array.from({ length: header.samples }, (_, channel) => {
      const data = new Float32Array(width * header.frames);
      for (let frame = 0; frame < header.frames; frame++) {
        data.set(this.#line(frame, channel, width), frame * width);
      }
      return new Pyramid(data, width, header.frames);
    });
  }

  #line(frame, channel, width) {
    const { frames, header, crosshair } = this.viewer;
    const source = frames.best(frame);
    const [low, high] = header.padding ?? [1, 0];
    const point = [...crosshair];
    const out = new Float32Array(width);
    for (let i = 0; i < width; i++) {
      point[this.axes[0]] = i;
      const column = Math.floor((point[0] * source.columns) / header.columns);
      const row = Math.floor((point[1] * source.rows) / header.rows);
      const stored = source.stored[(row * source.columns + column) * header.samples + channel];
      out[i] = stored >= low && stored <= high ? NaN : stored;
    }
    return out;
  }

  draw(fresh) {
    const { viewer } = this;
    const ratio = devicePixelRatio;
    const width = Math.max(1, Math.round(this.pane.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.pane.clientHeight * ratio));
    const resized = this.screen.width !== width || this.screen.height !== height;
    this.screen.resize(width, height, viewer.header.samples);
    if (fresh || resized) this.#sample(width, height);
    this.screen.paint(viewer.tones);
    this.#drawOver(ratio);
  }

  #sample(width, height) {
    const [across, down] = this.axes;
    const least = Math.min(this.spacing(across), this.spacing(down));
    const picture = {
      columns: this.extent(across), rows: this.extent(down), turn: this.turn,
      aspect: [this.spacing(across) / least, this.spacing(down) / least],
    };
    const centre = [picture.columns / 2, picture.rows / 2];
    this.place = new Placement(picture, fitZoom(picture, width, height), centre, width, height);
    this.screen.sample(this.pyramids(), this.place, this.viewer.look.smooth);
  }

  #drawOver(ratio) {
    const { drawing: context, place, viewer } = this;
    Object.assign(context.canvas, { width: place.width, height: place.height });
    const [x, y] = place.toScreen(this.axes.map((axis) => viewer.crosshair[axis] + 0.5));
    const gap = 8 * ratio;
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(x - gap, y);
    context.moveTo(x + gap, y);
    context.lineTo(place.width, y);
    context.moveTo(x, 0);
    context.lineTo(x, y - gap);
    context.moveTo(x, y + gap);
    context.lineTo(x, place.height);
    outlined(context, "rgba(92, 179, 228, 0.9)", ratio);
    placeMarks(this.pane, this.letters && edgeMarks(this.letters, this.turn));
  }

  // A point of the pane in screen pixels -> the crosshair goes there.
  point(x, y) {
    const picked = this.place.toPicture([x, y]);
    const to = [...this.viewer.crosshair];
    this.axes.forEach((axis, i) => { to[axis] = clamp(Math.floor(picked[i]), 0, this.extent(axis) - 1); });
    this.viewer.moveCrosshair(to);
  }

  // One step through the planes that are parallel to this one.
  step(by) {
    const to = [...this.viewer.crosshair];
    to[this.normal] = clamp(to[this.normal] + by, 0, this.extent(this.normal) - 1);
    this.viewer.moveCrosshair(to);
  }
}

// The turn that lets the two axes run as films hang.
function hanging([along, down], [right, below]) {
  const sign = (letter, wanted) => (letter === wanted ? 1 : letter === opposite(wanted) ? -1 : 0);
  return [sign(along, right), sign(down, right), sign(along, below), sign(down, below)];
}

function placeMarks(host, marks) {
  for (const side of ["left", "right", "top", "bottom"]) {
    host.querySelector(`:scope > .mark-${side}`).textContent = marks?.[side] ?? "";
  }
}
