"""Where a place lies, in words: by the patient's own sides where the file tells them, else by those of the picture."""

_TOWARDS = {"L": "left", "R": "right", "A": "front", "P": "back", "H": "upper", "F": "lower"}
_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}
# How a place is named: sides first, as in "right lower zone"; the word for its middle third.
_AXES = ("LR", "HF", "AP")
_MIDDLE = ("central", "middle", "middle")
_ROWS = ("upper", "middle", "lower")
_COLUMNS = ("left", "centre", "right")


def zone_at(row: float, column: float, orientation: tuple[str, str] | None) -> str:
    """The third of the picture, by rows and columns, in which a point lies: "right lower zone".

    ``row`` and ``column`` in shares of the picture, 0..1. ``orientation``: the patient's directions along a row and down a
    column (DICOM Patient Orientation, PS3.3 C.7.6.1.1.1).
    """
    down, across = (min(max(int(3 * share), 0), 2) for share in (row, column))
    if orientation is None or not all(letters and letters[0] in _TOWARDS for letters in orientation):
        if (down, across) == (1, 1):
            return "centre of the picture"
        return f"{_ROWS[down]} {_COLUMNS[across]} of the picture"
    found = {}
    for letters, third in zip(orientation, (across, down), strict=True):
        towards = letters[0] if third == 2 else _OPPOSITE[letters[0]]
        axis = next(index for index, both in enumerate(_AXES) if towards in both)
        found[axis] = _MIDDLE[axis] if third == 1 else _TOWARDS[towards]
    return f"{' '.join(dict.fromkeys(found[axis] for axis in sorted(found)))} zone"
