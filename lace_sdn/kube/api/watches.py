"""Several kinds of one API server, kept equal to what it has."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from lace_sdn.kube.api.reflector import Outage, Reflector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lace_sdn.kube.api.client import Api
    from lace_sdn.kube.api.resources import Resource
    from lace_sdn.kube.api.store import Store


class Watches:
    """A store and a reflector of each kind; an outage of the server is one for all."""

    def __init__(
        self, api: Api, stores: Mapping[Resource, Store[Any]], selectors: Mapping[Resource, str] | None = None
    ) -> None:
        """``selectors``: field selectors, of kinds that are not watched as a whole."""
        self._stores = stores
        outage = Outage()
        self.reflectors = [
            Reflector(api, each, store, field_selector=(selectors or {}).get(each, ""), outage=outage)
            for each, store in stores.items()
        ]

    def start(self, stop: threading.Event) -> list[threading.Thread]:
        """Watch everything, in threads of their own."""
        threads = [
            threading.Thread(target=each.run, args=(stop,), name=each.resource.plural, daemon=True)
            for each in self.reflectors
        ]
        for thread in threads:
            thread.start()
        return threads

    @property
    def is_synced(self) -> bool:
        return all(store.is_synced for store in self._stores.values())

    @property
    def missing(self) -> tuple[str, ...]:
        """The kinds that were not listed yet."""
        return tuple(resource.kind for resource, store in self._stores.items() if not store.is_synced)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong between us and the API server now."""
        return tuple(f"{each.resource.plural}: {each.trouble}" for each in self.reflectors if each.trouble)
