// Takes a later message of a case (heatmaps, scores along the slices, hold) and hands it to the viewer on the page.

// A rerun of the page brings the same bytes again: the viewer shall not even blink.
const isSame = (held, bytes) => held?.length === bytes.length && held.every((byte, i) => byte === bytes[i]);

export default function message({ data }) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const { id, kind } = header;
  const shared = (globalThis.radlens ??= {});
  shared.messages ??= new Map();
  if (isSame(shared.messages.get(`${id}:${kind}`)?.bytes, bytes)) return;
  if (kind === "hold") {
    for (const held of ["maps", "strip", "asked"]) shared.messages.delete(`${id}:${held}`);
  } else {
    shared.messages.set(`${id}:${kind}`, { header, bytes });
  }
  document.dispatchEvent(new CustomEvent("radlens-message", { detail: { id, kind } }));
}
