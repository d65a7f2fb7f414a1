"""open_reviews() -> Reviews: the store, the worklist and the settings of this deployment, opened together."""

import os
from dataclasses import dataclass, field

from core.errors import StoreError
from core.reviews.database import Database, database_url
from core.reviews.patients import patient_key
from core.reviews.record import SERVER
from core.reviews.settings import Settings, settings_from
from core.reviews.store import Store
from core.reviews.worklist import Worklist


@dataclass(frozen=True, slots=True, eq=False)
class Reviews:
    """All that pages need to keep reviews; ``key`` keys what is kept of a study's patient."""

    store: Store
    worklist: Worklist
    settings: Settings
    key: bytes = field(repr=False)


def open_reviews(url: str | None = None) -> Reviews:
    """Open the database (that of RADLENS_DATABASE unless named), delete what is past its time, and say so in the audit trail.

    Raises StoreError when it cannot be opened, ConfigurationError for a setting that means nothing.
    """
    settings = settings_from(os.environ)
    database = Database(url or database_url())
    try:
        key = patient_key()
    except OSError as exc:
        raise StoreError(
            "The key for the patients of the reviews can be neither read nor kept, so no review is; ask whoever runs RadLens "
            "to look at its data folder."
        ) from exc
    store = Store(database, settings.policy)
    store.record(SERVER, "application started")
    store.delete_outdated(SERVER)
    return Reviews(store, Worklist(database, settings.policy, triage=settings.triage), settings, key)
