// Measured lengths: lines in the picture's coordinates, kept for each frame, drawn by pointer or by keyboard.

class Lengths {
  constructor(viewer) {
    this.viewer = viewer;
    this.cursor = null;
    this.open = null;
  }

  here() {
    const { lines, frame } = this.viewer.view;
    return (lines[frame] ??= []);
  }

  add(from) {
    const line = { from, to: from };
    this.here().push(line);
    this.viewer.change("marks");
    return line;
  }

  // A press without a drag is no line.
  end(line) {
    const { from, to } = line;
    if (Math.hypot(to[0] - from[0], to[1] - from[1]) >= 0.5) return;
    const lines = this.here();
    if (lines.includes(line)) lines.splice(lines.indexOf(line), 1);
    this.viewer.change("marks");
  }

  drop() {
    this.open = null;
    this.here().pop();
    this.viewer.change("marks");
  }

  text({ from, to }) {
    const [u, v] = [to[0] - from[0], to[1] - from[1]];
    const { spacing } = this.viewer.header;
    if (!spacing) return this.viewer.say("viewer.length_px", { n: Math.hypot(u, v).toFixed(1) });
    return this.viewer.say("viewer.length_mm", { n: Math.hypot(u * spacing[1], v * spacing[0]).toFixed(1) });
  }

  // The keyboard's pointer: one picture's pixel at a time, or one of the screen's where those are larger.
  moveCursor(x, y, steps) {
    const { viewer } = this;
    const at = viewer.place.toScreen(this.cursor ?? viewer.view.centre);
    const step = steps * Math.max(viewer.zoom(), 1);
    const [u, v] = viewer.place.toPicture([at[0] + x * step, at[1] + y * step]);
    this.cursor = [clamp(u, 0, viewer.header.columns), clamp(v, 0, viewer.header.rows)];
    if (this.open) this.open.to = this.cursor;
    viewer.region.follow(this.cursor);
    viewer.probe(this.cursor);
    viewer.change("marks");
  }

  // Without an end, a line that was begun by keyboard is none.
  leave() {
    if (this.open) this.drop();
    this.cursor = null;
  }

  placeCursor() {
    this.cursor ??= [...this.viewer.view.centre];
    if (this.open) this.end(this.open);
    this.open = this.open ? null : this.add(this.cursor);
  }
}
