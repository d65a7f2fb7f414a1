"""The frames of open stacks over HTTP: the browser fetches slices beside the page's own traffic, straight from the scan.

An address holds 192 random bits and lives as long as its case is open. Nothing is stored: not here, not by the browser.
"""

import secrets
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

    from core.scan import Scan

_PATH = "/radlens/frames/{token}"
# One answer holds at most so much; a browser that asks for more gets fewer frames.
_MOST_BYTES = 16 << 20


@dataclass(eq=False)
class Offer:
    """A stack whose frames can be fetched; whoever holds the offer keeps it open."""

    scan: "Scan" = field(repr=False)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def __post_init__(self) -> None:
        """Known from now on until nobody holds it any more."""
        _offers[self.token] = self


_offers: "weakref.WeakValueDictionary[str, Offer]" = weakref.WeakValueDictionary()


def address(offer: Offer, base_path: str) -> str:
    """Where the browser finds the offer's frames: ``?first=a&count=n``."""
    base = base_path.strip("/")
    return (f"/{base}" if base else "") + _PATH.format(token=offer.token)


def serve(request: "Request") -> Response:
    """Frames ``first`` to ``first + count`` of an offer, raw, little-endian; 404 for anything else."""
    from dashboard.packing import raw_frames

    offer = _offers.get(request.path_params["token"])
    first, count = (request.query_params.get(name, "") for name in ("first", "count"))
    if offer is None or not (first.isdecimal() and count.isdecimal()) or int(first) >= offer.scan.frame_count:
        return Response(status_code=404)
    most = max(1, _MOST_BYTES // max(1, offer.scan.stored[0].nbytes))
    body = raw_frames(offer.scan, int(first), max(1, min(int(count), most)))
    return Response(body, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})


ROUTES = (Route(_PATH, serve),)
