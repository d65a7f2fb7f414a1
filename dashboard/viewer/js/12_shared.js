// What outlives a rerun and a change of page: messages that came early, choices of each case and of the reader.

const shared = (globalThis.radlens ??= {});
shared.messages ??= new Map();
shared.views ??= new Map();
shared.mounts ??= new WeakMap();
shared.askers ??= new Map();
shared.look ??= {
  heat: true, opacity: 0.6, threshold: 0, contour: false, signed: false,
  smooth: true, graphics: true, outline: true, heatOfOutline: false, places: true, placeContours: false, tool: "window", speed: 10,
  brush: 0.08,
};

function viewOf(header) {
  const known = shared.views.get(header.id);
  if (known) return Object.assign(known, { frame: Math.min(known.frame, header.frames - 1) });
  const view = {
    window: { ...(header.windows?.[0] ?? { centre: 128, width: 256, function: "LINEAR" }) },
    invert: false, zoom: null, centre: [header.columns / 2, header.rows / 2], turn: [1, 0, 0, 1],
    frame: header.frame ?? 0, label: null, swipe: null, fit: false, planes: false, lines: {},
    region: null,
  };
  shared.views.set(header.id, view);
  return view;
}

// Written only when new: a live region must not be read out again for every drawing.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// Python's rounding and numpy's: a half goes to the even neighbour.
function halfEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

// Few enough digits to read, enough to tell two steps apart.
function short(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text = size >= 1000 ? value.toFixed(0) : Number(size >= 10 ? value.toFixed(1) : value.toPrecision(3));
  return String(text).replace("-", "−");
}

const fill = (text, values = {}) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
