"""Which of a model's labels comes first on a scan."""

import math
from collections.abc import Mapping

from core.models.card import ModelCard


def foremost_label(card: ModelCard, scores: Mapping[str, float]) -> str:
    """The class of the highest score; of labels that go together, the one furthest above its threshold in log-odds.

    The headline where none is above. ``scores`` (0..1) by label code.
    """
    if card.is_exclusive:
        return max(scores, key=lambda code: scores[code])
    points = {code: point for code in card.label_codes if (point := card.threshold(code)) is not None}
    above = {code: _log_odds(scores[code]) - _log_odds(point) for code, point in points.items()}
    foremost = max(above, key=lambda code: above[code], default=card.headline)
    return foremost if above.get(foremost, -1.0) >= 0 else card.headline


def _log_odds(share: float) -> float:
    kept = min(max(share, 1e-6), 1 - 1e-6)
    return math.log(kept / (1 - kept))
