"""Keeps the EndpointSlices of Services, in a cluster that has no controller for them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import ApiError, ApiUnreachable
from lace_sdn.kube.api.store import Store
from lace_sdn.kube.backends import SERVICE_NAME_LABEL
from lace_sdn.lab.api.slices import MANAGER, MANAGER_LABEL, slices_of

if TYPE_CHECKING:
    import threading

    from lace_sdn.kube.api.client import Api
    from lace_sdn.kube.api.resources import Resource

log = logging.getLogger(__name__)

_TICK = 0.5
"""Seconds: a failed write is tried again."""

Data = dict[str, Any]


class SliceKeeper:
    """``pods``: all pods, kept by somebody else."""

    def __init__(self, api: Api, pods: Store[Data]) -> None:
        self._api = api
        self._pods = pods
        self._services: Store[Data] = Store(lambda body: body)
        self._slices: Store[Data] = Store(lambda body: body)
        self._seen = (-1, -1, -1)

    def stores(self) -> dict[Resource, Store[Data]]:
        """To be watched by the caller."""
        return {resources.SERVICES: self._services, resources.ENDPOINT_SLICES: self._slices}

    def run(self, stop: threading.Event) -> None:
        """Look again after every change, until ``stop``."""
        stores = (self._pods, self._services, self._slices)
        while not stop.wait(_TICK / 10):
            versions = tuple(store.version for store in stores)
            if versions == self._seen or not all(store.is_synced for store in stores):
                continue
            try:
                self._bring()
                self._seen = versions  # type: ignore[assignment]
            except (ApiError, ApiUnreachable) as problem:
                log.warning("EndpointSlices: %s; trying again", problem)
                stop.wait(_TICK)

    def _bring(self) -> None:
        ours = {
            (body["metadata"]["namespace"], body["metadata"]["name"]): body
            for body in self._slices.values()
            if (body["metadata"].get("labels") or {}).get(MANAGER_LABEL) == MANAGER
        }
        by_hand = {
            (body["metadata"]["namespace"], (body["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL))
            for body in self._slices.values()
            if (body["metadata"]["namespace"], body["metadata"]["name"]) not in ours
        }
        pods: dict[str, list[Data]] = {}
        for pod in self._pods.values():
            pods.setdefault(pod["metadata"]["namespace"], []).append(pod)
        wanted = {}
        for service in self._services.values():
            namespace = service["metadata"]["namespace"]
            # A manifest that writes slices for a Service means these.
            if (namespace, service["metadata"]["name"]) not in by_hand:
                for each in slices_of(service, pods.get(namespace, ())):
                    wanted[namespace, each["metadata"]["name"]] = each
        for key in ours.keys() - wanted.keys():
            self._tolerating_others(self._api.delete, resources.ENDPOINT_SLICES, key[1], key[0])
        for key, body in wanted.items():
            self._put(ours.get(key), body)

    def _put(self, present: Data | None, body: Data) -> None:
        if present is None:
            self._tolerating_others(self._api.create, resources.ENDPOINT_SLICES, body)
            return
        if all(_same(present.get(name), body.get(name)) for name in ("endpoints", "ports", "addressType")):
            return
        if present["addressType"] != body["addressType"]:  # immutable
            self._api.delete(
                resources.ENDPOINT_SLICES, body["metadata"]["name"], body["metadata"]["namespace"]
            )
            self._tolerating_others(self._api.create, resources.ENDPOINT_SLICES, body)
            return
        metadata = {**present["metadata"], **body["metadata"]}
        self._tolerating_others(self._api.replace, resources.ENDPOINT_SLICES, {**body, "metadata": metadata})

    @staticmethod
    def _tolerating_others(write: Any, *arguments: Any) -> None:
        """Whoever was quicker is seen in the next look."""
        try:
            write(*arguments)
        except ApiError as error:
            if error.status not in (404, 409):
                raise


def _same(present: Any, wanted: Any) -> bool:
    return (present or []) == (wanted or [])
