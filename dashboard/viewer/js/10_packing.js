// Messages from Python: uint32 header length | JSON header | sections, all little-endian.

const ARRAYS = {
  u1: Uint8Array, i1: Int8Array, u2: Uint16Array, i2: Int16Array,
  u4: Uint32Array, i4: Int32Array, f4: Float32Array,
};

function unpack(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const section = (name, type = "u1") => {
    const place = header.sections?.[name];
    if (!place) return null;
    const start = 4 + length + place.offset;
    return typed(bytes.subarray(start, start + place.length), type);
  };
  return { header, section };
}

// The transport does not promise an aligned start, typed arrays need one: copied only where it is missing.
function typed(bytes, type) {
  const Kind = ARRAYS[type];
  const size = Kind.BYTES_PER_ELEMENT;
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return new Kind(aligned.buffer, aligned.byteOffset, Math.floor(aligned.byteLength / size));
}
