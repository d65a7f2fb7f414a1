// The chosen label's score along the slices, as far as they have been analysed.

class Strip {
  constructor(viewer, signal) {
    this.viewer = viewer;
    this.host = viewer.root.querySelector(".strip");
    this.picture = this.host.querySelector("svg");
    this.picture.addEventListener("click", (event) => {
      const box = this.picture.getBoundingClientRect();
      viewer.goTo(Math.floor(((event.clientX - box.left) / box.width) * this.total));
    }, { signal });
  }

  take(message) {
    this.message = message;
    this.scores = message?.section("scores", "f4");
    this.draw();
  }

  get total() {
    return this.message.header.total;
  }

  draw() {
    this.host.hidden = !this.message;
    if (!this.message) return;
    const { labels, done } = this.message.header;
    const index = Math.max(0, labels.findIndex(({ code }) => code === this.viewer.view.label));
    const scores = this.scores.subarray(index * this.total, (index + 1) * this.total);
    this.#drawPaths(scores);
    const words = this.#words(labels[index], scores, done);
    this.host.querySelector("p").textContent = words;
    this.picture.setAttribute("aria-label", words);
  }

  #drawPaths(scores) {
    const put = (name, path) => this.picture.querySelector(`.${name}`).setAttribute("d", path);
    const points = Array.from(scores, (score, i) => [i + 0.5, 94 - 88 * score]);
    const known = points.filter(([, y]) => y === y);
    const line = points.map(([x, y], i) => (y === y ? `${points[i - 1]?.[1] >= 0 ? "L" : "M"}${x} ${y}` : ""));
    this.picture.setAttribute("viewBox", `0 0 ${this.total} 100`);
    put("grid", `M0 50H${this.total}`);
    put("line", line.join(""));
    put("dots", known.map(([x, y]) => `M${x} ${y}h0`).join(""));
    put("now", `M${this.viewer.view.frame + 0.5} 0V100`);
  }

  #words(label, scores, done) {
    const { viewer, total } = this;
    const best = scores.reduce((known, score, i) => (score > (scores[known] ?? -1) ? i : known), -1);
    if (!label || best < 0) return viewer.say("viewer.strip_none", { done, total });
    return viewer.say("viewer.strip", { label: label.words, score: scores[best].toFixed(2), n: best + 1, done, total });
  }
}
