// The frames of a stack: nearest first, at most two requests at a time, the farthest given up when memory is full.

const CHUNK_BYTES = 4e6;
const HELD_BYTES = 6e8;
const REQUESTS = 2;
const TRIES = 3;
const PAUSE_MS = 700;

class Frames {
  constructor({ header, section }, arrived) {
    this.header = header;
    this.arrived = arrived;
    this.current = header.frame ?? 0;
    this.size = header.rows * header.columns * header.samples;
    this.held = new Map([[this.current, section("frame", header.type)]]);
    this.preview = header.frames > 1 ? section("preview", header.type) : null;
    this.running = new Map();
    this.failed = new Map();
    const bytes = this.size * ARRAYS[header.type].BYTES_PER_ELEMENT;
    this.perChunk = Math.max(1, Math.floor(CHUNK_BYTES / bytes));
    this.most = Math.max(3, Math.floor(HELD_BYTES / (bytes * this.perChunk)));
    this.aborter = new AbortController();
  }

  get chunks() {
    return Math.ceil(this.header.frames / this.perChunk);
  }

  full(frame) {
    return this.held.get(frame) ?? null;
  }

  // The low-resolution copy of a frame: {stored, rows, columns}.
  small(frame) {
    if (!this.preview) return null;
    const [rows, columns] = this.header.preview;
    const size = rows * columns * this.header.samples;
    return { stored: this.preview.subarray(frame * size, (frame + 1) * size), rows, columns };
  }

  best(frame) {
    const { rows, columns } = this.header;
    const stored = this.full(frame);
    return stored ? { stored, rows, columns } : this.small(frame);
  }

  // Whether previews stay previews.
  get broken() {
    return !this.header.source || [...this.failed.values()].some((tries) => tries >= TRIES);
  }

  // Going to a frame is also a new try where the server did not answer.
  seek(frame) {
    this.current = frame;
    this.failed.delete(Math.floor(frame / this.perChunk));
    this.#fetchNext();
  }

  close() {
    this.aborter.abort();
  }

  #distance(chunk) {
    const first = chunk * this.perChunk;
    return Math.max(first - this.current, this.current - (first + this.perChunk - 1), 0);
  }

  #isHeld(chunk) {
    const first = chunk * this.perChunk;
    const last = Math.min(first + this.perChunk, this.header.frames);
    for (let frame = first; frame < last; frame++) if (!this.held.has(frame)) return false;
    return true;
  }

  #nearest() {
    return Array.from({ length: this.chunks }, (_, chunk) => chunk)
      .sort((one, other) => this.#distance(one) - this.#distance(other)).slice(0, this.most);
  }

  #fetchNext() {
    if (!this.header.source) return;
    const wanted = this.#nearest();
    for (const chunk of wanted) {
      if (this.running.size >= REQUESTS) return;
      if (this.running.has(chunk) || this.#isHeld(chunk) || (this.failed.get(chunk) ?? 0) >= TRIES) continue;
      this.running.set(chunk, this.#fetch(chunk));
    }
  }

  async #fetch(chunk) {
    const first = chunk * this.perChunk;
    const count = Math.min(this.perChunk, this.header.frames - first);
    const arrived = await this.#ask(first, count);
    if (!arrived) {
      this.failed.set(chunk, (this.failed.get(chunk) ?? 0) + 1);
      await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS); });
    }
    this.running.delete(chunk);
    if (this.aborter.signal.aborted) return;
    this.arrived(first, count);
    this.#fetchNext();
  }

  async #ask(first, count) {
    try {
      const answer = await fetch(`${this.header.source}?first=${first}&count=${count}`, { signal: this.aborter.signal });
      if (!answer.ok) return false;
      this.#take(first, count, typed(new Uint8Array(await answer.arrayBuffer()), this.header.type));
      return true;
    } catch {
      return false;
    }
  }

  #take(first, count, stored) {
    if (stored.length !== count * this.size) throw new Error("wrong length");
    for (let i = 0; i < count; i++) this.held.set(first + i, stored.subarray(i * this.size, (i + 1) * this.size));
    this.#giveUpFarthest();
  }

  #giveUpFarthest() {
    const surplus = this.held.size - this.most * this.perChunk;
    if (surplus <= 0) return;
    const farthest = [...this.held.keys()].sort((a, b) => Math.abs(b - this.current) - Math.abs(a - this.current));
    farthest.slice(0, surplus).forEach((frame) => this.held.delete(frame));
  }
}

// Frame or preview -> one pyramid for each channel, on the picture's own coordinates.
function pyramidsOf(frames, frame) {
  const { header } = frames;
  const { stored, rows, columns } = frames.best(frame);
  const steps = [columns / header.columns, rows / header.rows];
  return Array.from({ length: header.samples }, (_, channel) =>
    new Pyramid(channelOf(stored, header.samples, channel, header.padding), columns, rows, steps));
}
