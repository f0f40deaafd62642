"""The kubelets of a lab's nodes, as far as a network needs them: ``python -m lace_sdn.lab.api.kubelet LAB``.

A pod that is scheduled to a node of the lab gets a sandbox, attached by the CNI plugin, and a status that says its addresses; one that
is deleted loses it. Where the cluster has no EndpointSlice controller, Services get their slices here.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import Api, ApiError, ApiUnreachable
from lace_sdn.kube.api.store import Store
from lace_sdn.kube.api.watches import Watches
from lace_sdn.lab import LabError
from lace_sdn.lab.api import access, sandboxes
from lace_sdn.lab.api.objects import READY
from lace_sdn.lab.api.sandboxes import Sandbox
from lace_sdn.lab.api.slice_keeper import SliceKeeper
from lace_sdn.lab.files import write_whole
from lace_sdn.lab.names import Lab

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Sandboxes that are made or ended at the same time."""
RETRY_FIRST, RETRY_LAST = 0.25, 5.0
"""Seconds."""
_TICK = 0.2

Data = dict[str, Any]


@dataclass(slots=True)
class _Retry:
    at: float = 0.0
    pause: float = RETRY_FIRST


class Kubelet:
    """One thread decides; others carry out, at most one for a pod's name at a time."""

    def __init__(self, lab: Lab, api: Api) -> None:
        self._lab = lab
        self._api = api
        self._changed = threading.Event()
        self.pods: Store[Data] = Store(lambda body: body)
        self.pods.on_change = lambda *_: self._changed.set()
        self._sandboxes = {each.uid: each for each in sandboxes.known(lab)}
        self._attached = {uid for uid, each in self._sandboxes.items() if lab.pod(each.pod).exists()}
        self._busy: set[str] = set()
        self._retries: dict[str, _Retry] = {}
        self._workers = ThreadPoolExecutor(AT_ONCE)

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``; sandboxes stay as they are."""
        while not stop.is_set():
            self._changed.wait(_TICK)
            self._changed.clear()
            if self.pods.is_synced:
                self._look()
        self._workers.shutdown(wait=True)

    def _look(self) -> None:
        present = {body["metadata"]["uid"]: body for body in self.pods.values()}
        named = {sandbox.pod: sandbox for sandbox in self._sandboxes.values()}
        for uid, sandbox in list(self._sandboxes.items()):
            body = present.get(uid)
            if body is None or body["metadata"].get("deletionTimestamp"):
                self._submit(sandbox.pod, self._end, sandbox, body)
        for uid, body in present.items():
            name = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
            if not self._is_ours(body) or (uid in self._attached and _has_addresses(body)):
                continue
            if body["metadata"].get("deletionTimestamp"):
                self._submit(name, self._forget, body)
            elif uid in self._attached:
                self._submit(name, self._say_again, body)
            elif body["spec"].get("hostNetwork"):
                self._submit(name, self._run_on_host, body)
            elif name not in named or named[name].uid == uid:
                self._submit(name, self._make, body)

    def _is_ours(self, body: Data) -> bool:
        node = body["spec"].get("nodeName")
        ended = (body.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        return bool(node) and not ended and self._lab.node(node).exists()

    def _submit(self, name: str, task: Any, *arguments: Any) -> None:
        retry = self._retries.setdefault(name, _Retry())
        if name not in self._busy and time.monotonic() >= retry.at:
            self._busy.add(name)
            self._workers.submit(self._carry_out, name, task, *arguments)

    def _carry_out(self, name: str, task: Any, *arguments: Any) -> None:
        retry = self._retries[name]
        try:
            task(*arguments)
            self._retries.pop(name, None)
        except (LabError, ApiError, ApiUnreachable, OSError) as problem:
            log.warning("pod=%s: %s; trying again in %.1f s", name, problem, retry.pause)
            retry.at, retry.pause = time.monotonic() + retry.pause, min(2 * retry.pause, RETRY_LAST)
        except Exception:
            log.exception("pod=%s: trying again in %.1f s", name, RETRY_LAST)
            retry.at = time.monotonic() + RETRY_LAST
        finally:
            self._busy.discard(name)
            self._changed.set()

    def _make(self, body: Data) -> None:
        """A sandbox that failed half-way is ended first, as runtimes do."""
        metadata = body["metadata"]
        name, uid = f"{metadata['namespace']}/{metadata['name']}", metadata["uid"]
        if uid in self._sandboxes:
            self._end(self._sandboxes[uid], None)
        sandbox = self._sandboxes[uid] = Sandbox.of(name, uid, body["spec"]["nodeName"])
        result = sandboxes.make(self._lab, sandbox)
        addresses = [entry["address"].partition("/")[0] for entry in result["ips"]]
        mac = next(each["mac"] for each in result["interfaces"] if each.get("sandbox"))
        spec = self._api.get(resources.NETWORK_ENDPOINTS, metadata["name"], metadata["namespace"])["spec"]
        record = {"id": name, "node": sandbox.node, "network": spec["network"], "addresses": addresses}
        write_whole(self._lab.pod(name), json.dumps({**record, "mac": mac}))
        self._attached.add(uid)
        self._say_running(body, addresses)

    def _say_again(self, body: Data) -> None:
        """Attached, but killed before it was said."""
        name = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
        self._say_running(body, json.loads(self._lab.pod(name).read_text())["addresses"])

    def _end(self, sandbox: Sandbox, body: Data | None) -> None:
        self._attached.discard(sandbox.uid)
        sandboxes.end(self._lab, sandbox)
        self._sandboxes.pop(sandbox.uid, None)
        if body is not None:
            self._forget(body)

    def _forget(self, body: Data) -> None:
        """Nothing of the pod runs any more."""
        metadata = body["metadata"]
        try:
            self._api.delete(
                resources.PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"], grace_seconds=0
            )
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise

    def _run_on_host(self, body: Data) -> None:
        node = self._api.get(resources.NODES, body["spec"]["nodeName"])
        entries = node["status"]["addresses"]
        self._say_running(body, [each["address"] for each in entries if each["type"] == "InternalIP"])
        self._attached.add(body["metadata"]["uid"])

    def _say_running(self, body: Data, addresses: list[str]) -> None:
        metadata = body["metadata"]
        is_ready = (metadata.get("annotations") or {}).get(READY) != "false"
        status = {
            "phase": "Running",
            "podIP": addresses[0],
            "podIPs": [{"ip": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": "True" if is_ready else "False"}],
        }
        self._api.patch(
            resources.PODS, metadata["name"], metadata["namespace"], {"status": status}, subresource="status"
        )


def _has_addresses(body: Data) -> bool:
    return bool((body.get("status") or {}).get("podIPs"))


def main(name: str) -> None:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    lab = Lab(name)
    api = access.connect(lab)
    kubelet = Kubelet(lab, api)
    stores = {resources.PODS: kubelet.pods}
    if not access.has_controllers(api):
        keeper = SliceKeeper(api, kubelet.pods)
        stores |= keeper.stores()
        threading.Thread(target=keeper.run, args=(stop,), daemon=True).start()
    Watches(api, stores).start(stop)
    kubelet.run(stop)


if __name__ == "__main__":
    main(sys.argv[1])
