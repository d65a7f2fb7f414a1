// Keeps the name that the reader declared in this browser, so that a reload need not ask again; nothing else is kept.

const KEY = "radlens-reader";

export default function keeper({ data, setStateValue }) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const { name, forgotten } = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  try {
    if (name) localStorage.setItem(KEY, name);
    else if (forgotten) localStorage.removeItem(KEY);
    else if (localStorage.getItem(KEY)) setStateValue("name", localStorage.getItem(KEY));
  } catch {
    // A browser that keeps nothing: the reader is asked again.
  }
}
