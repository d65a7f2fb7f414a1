// Tells the server of a text while it is typed, as Ctrl+Enter would: a browser that closes must not take the last words along.

const PAUSE = 1200;

export default function typing() {
  const shared = (globalThis.radlens ??= {});
  if (shared.typing) return;
  shared.typing = new WeakMap();
  document.addEventListener("input", ({ target }) => {
    if (!(target instanceof HTMLTextAreaElement) || !target.closest('[class*="st-key-reading"]')) return;
    clearTimeout(shared.typing.get(target));
    const tell = () =>
      target.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", ctrlKey: true, bubbles: true, cancelable: true }));
    shared.typing.set(target, setTimeout(tell, PAUSE));
  });
}
