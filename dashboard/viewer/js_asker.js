// While it stands on the page the reader may mark a place in the viewer of its case; the mark goes to Python through it.

const announce = (id) => document.dispatchEvent(new CustomEvent("radlens-message", { detail: { id, kind: "ask" } }));

export default function asker({ data, parentElement, setStateValue }) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const { id, unanswered } = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const shared = (globalThis.radlens ??= {});
  shared.askers ??= new Map();
  const isNew = !shared.askers.has(id);
  shared.askers.set(id, { host: parentElement, setStateValue, unanswered });
  if (isNew) announce(id);
  return () => {
    if (shared.askers.get(id)?.host !== parentElement) return;
    shared.askers.delete(id);
    announce(id);
  };
}
