"""Requests to the API server: plain dicts in and out, every failure an ApiError or ApiUnreachable, every wait bounded.

Source: Kubernetes API concepts. The ``kubernetes`` library reads kubeconfigs and service accounts, and holds the connections.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import urllib3
import yaml
from kubernetes import config
from kubernetes.client import ApiClient, Configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from lace_sdn.kube.api.resources import Resource

CONNECT_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 10.0
"""Seconds until an answer begins, and without a byte of one."""
SILENCE: Final = 90.0
"""Seconds without a byte after which a watch counts as dead: bookmarks come every 60 s or so."""
PAGE: Final = 500
"""Objects of one page of a list."""
_POOL: Final = 32
"""Connections that are kept; a watch holds one."""
_MERGE_PATCH: Final = "application/merge-patch+json"
_JSON: Final = "application/json"
_CONTINUE_ATTEMPTS: Final = 3

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an object was refused: the field (``spec.ipv4Subnet.prefix``), and what is wrong with it."""

    field: str
    reason: str
    message: str


class ApiError(Exception):
    """The server answered with an error (Kubernetes API: Status)."""

    def __init__(
        self, status: int, reason: str, message: str, causes: tuple[Cause, ...] = (), retry_after: float = 0.0
    ) -> None:
        """``retry_after``: seconds that the server asks to wait."""
        super().__init__(f"{status} {reason}: {message}" if reason else f"{status}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.retry_after = retry_after

    @property
    def is_not_found(self) -> bool:
        return self.status == 404

    @property
    def is_already_exists(self) -> bool:
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def is_conflict(self) -> bool:
        return self.status == 409 and not self.is_already_exists

    @property
    def is_expired(self) -> bool:
        """The resourceVersion or continue token is too old."""
        return self.status == 410

    @property
    def is_invalid(self) -> bool:
        return self.status == 422

    @classmethod
    def of(cls, status: Mapping[str, Any], code: int = 0, retry_after: float = 0.0) -> ApiError:
        """From a Status object."""
        details = status.get("details") or {}
        causes = tuple(
            Cause(each.get("field", ""), each.get("reason", ""), each.get("message", ""))
            for each in details.get("causes") or ()
        )
        return cls(
            int(status.get("code") or code),
            str(status.get("reason") or ""),
            str(status.get("message") or ""),
            causes,
            retry_after or float(details.get("retryAfterSeconds") or 0),
        )


class ApiUnreachable(Exception):  # noqa: N818 (what happened, not a mistake)
    """No answer came, or none that can be read: what was asked may or may not have been done."""


class Api:
    """Safe for many threads or greenthreads."""

    def __init__(self, client: ApiClient) -> None:
        self._configuration: Configuration = client.configuration
        self._pool: urllib3.PoolManager = client.rest_client.pool_manager
        self._agent = client.user_agent
        self.server = str(self._configuration.host).rstrip("/")
        """Where the API server is, as URL."""

    @classmethod
    def connect(
        cls, kubeconfig: Path | None = None, *, server: str | None = None, user_agent: str = "lace-sdn"
    ) -> Api:
        """By a kubeconfig, or without one by the pod's service account. Nothing is sent yet.

        ``server``: an address (URL) to use instead of the one that these name. Raises ApiUnreachable if there is no way to know
        where the server is and who we are.
        """
        found = Configuration()
        try:
            if kubeconfig is None:
                config.load_incluster_config(client_configuration=found)
            else:
                config.load_kube_config(str(kubeconfig), client_configuration=found, persist_config=False)
        except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError) as error:
            where = str(kubeconfig) if kubeconfig else "this pod's service account"
            raise ApiUnreachable(f"{where} does not say how to reach the API server: {error}") from None
        if server:
            found.host = server
        found.retries = False
        found.connection_pool_maxsize = _POOL
        client = ApiClient(found)
        client.user_agent = user_agent
        return cls(client)

    def get(self, resource: Resource, name: str, namespace: str = "") -> Data:
        """One object. Raises ApiError (404 if there is none) or ApiUnreachable."""
        return self._named(self._ask("GET", resource.path(namespace, name)), resource)

    def list(
        self, resource: Resource, *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> tuple[list[Data], str]:
        """All objects, page by page, and the resourceVersion that a watch goes on from. Raises as ``get``."""
        for attempt in range(_CONTINUE_ATTEMPTS):
            found: list[Data] = []
            try:
                version = ""
                for page in self.pages(resource, namespace, label_selector, field_selector):
                    found += page["items"]
                    version = page["metadata"]["resourceVersion"]
            except ApiError as error:
                # The token of the next page was too old: all from the start.
                if not error.is_expired or attempt == _CONTINUE_ATTEMPTS - 1:
                    raise
            else:
                return found, version
        raise AssertionError("unreachable")

    def pages(
        self, resource: Resource, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> Iterator[Data]:
        """The pages of a list: ``items`` and ``metadata``. Raises as ``get``, and ApiError 410 when one took too long to ask for."""
        query = {"limit": str(PAGE), "labelSelector": label_selector, "fieldSelector": field_selector}
        while True:
            page = self._ask("GET", resource.path(namespace), query)
            if not _version(page):
                raise ApiUnreachable(f"{self.server} answers with a list without a version: {page!r:.100}")
            page["items"] = [self._named(each, resource) for each in page.get("items") or ()]
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            query = {**query, "continue": token}

    def create(self, resource: Resource, body: Mapping[str, Any]) -> Data:
        """As the server has it then. Raises as ``get``; ApiError 409 if there is one of the name, 422 if it is not valid."""
        path = resource.path(body["metadata"].get("namespace", ""))
        return self._ask("POST", path, body=body)

    def replace(self, resource: Resource, body: Mapping[str, Any], subresource: str = "") -> Data:
        """Put the whole object; its resourceVersion must be the present one (ApiError 409 otherwise)."""
        metadata = body["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        return self._ask("PUT", path, body=body)

    def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        body: Mapping[str, Any],
        subresource: str = "",
    ) -> Data:
        """A JSON merge patch (RFC 7396); a resourceVersion in it must be the present one."""
        return self._ask(
            "PATCH", resource.path(namespace, name, subresource), body=body, content=_MERGE_PATCH
        )

    def delete(  # noqa: PLR0913 - the options of a deletion
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
    ) -> None:
        """Begin to delete: finalizers and the grace of pods may hold it. ApiError 409 if uid or version are others."""
        wanted = {"uid": uid, "resourceVersion": resource_version}
        body: Data = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if preconditions := {key: value for key, value in wanted.items() if value}:
            body["preconditions"] = preconditions
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        self._ask("DELETE", resource.path(namespace, name), body=body)

    def watch(  # noqa: PLR0913 - the options of a watch
        self,
        resource: Resource,
        *,
        resource_version: str,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout: float,
        opened: Callable[[], None] = lambda: None,
    ) -> Iterator[Data]:
        """Events (``type``, ``object``) since a version, bookmarks too, until the server ends it after ``timeout`` seconds.

        ``opened`` is called when the server has accepted to watch, which may be long before the first event.

        Raises ApiError (410: relist) and ApiUnreachable, also after ``SILENCE`` without a byte.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, round(timeout))),
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        with self._open("GET", resource.path(namespace), query) as response:
            opened()
            _be_patient(response, min(SILENCE, timeout + READ_TIMEOUT))
            for line in _lines(response):
                event = _parsed(line, self.server)
                if event.get("type") == "ERROR":
                    raise ApiError.of(event.get("object") or {})
                if not _version(event.get("object")):
                    raise ApiUnreachable(f"{self.server} tells of no object: {line[:100]!r}")
                yield event

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content: str = _JSON,
    ) -> Data:
        with self._open(method, path, query, body, content) as response:
            return _parsed(_read(response, self.server), self.server)

    @contextlib.contextmanager
    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content: str = _JSON,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """An answer that is no error."""
        asked = urlencode({key: value for key, value in (query or {}).items() if value})
        url = f"{self.server}{path}?{asked}" if asked else f"{self.server}{path}"
        try:
            response = self._pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body, separators=(",", ":")).encode(),
                headers=self._headers(content if body is not None else ""),
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
                retries=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiUnreachable(f"{self.server} does not answer: {_why(error)}") from None
        except config.ConfigException as error:
            raise ApiUnreachable(
                f"{self.server} cannot be asked, who we are is not to be read: {error}"
            ) from None
        try:
            _check(response, self.server)
            yield response
        except BaseException:
            # What is left unread belongs to no later request.
            response.close()
            raise
        finally:
            response.release_conn()

    def _headers(self, content: str) -> dict[str, str]:
        headers = {"Accept": _JSON, "User-Agent": self._agent}
        if content:
            headers["Content-Type"] = content
        for each in self._configuration.auth_settings().values():
            headers[each["key"]] = each["value"]
        return headers

    @staticmethod
    def _named(item: Data, resource: Resource) -> Data:
        """Items of a list do not say what they are."""
        item.setdefault("apiVersion", resource.api_version)
        item.setdefault("kind", resource.kind)
        return item


def _read(response: urllib3.BaseHTTPResponse, server: str) -> bytes:
    try:
        return response.read()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ApiUnreachable(f"{server} broke off its answer: {_why(error)}") from None


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Lines as they come; half a line at the end of a broken stream is none."""
    held = b""
    try:
        for chunk in response.stream(amt=None, decode_content=True):
            held += chunk
            *whole, held = held.split(b"\n")
            yield from (line for line in whole if line.strip())
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ApiUnreachable(f"the watch broke off: {_why(error)}") from None
    if held.strip():
        raise ApiUnreachable("the watch broke off inside of an event")


def _parsed(text: bytes, server: str) -> Data:
    try:
        found = json.loads(text)
    except ValueError:
        raise ApiUnreachable(f"{server} answers with what is not JSON: {text[:100]!r}") from None
    if not isinstance(found, dict):
        raise ApiUnreachable(f"{server} answers with what is no object: {text[:100]!r}")
    return found


def _version(body: Any) -> str:
    """Of an object or a list; "" for what is neither."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    return str(metadata.get("resourceVersion") or "") if isinstance(metadata, dict) else ""


def _be_patient(response: urllib3.BaseHTTPResponse, seconds: float) -> None:
    """From here the answer may be silent for longer than until it begins; the library has no word for that."""
    sock = getattr(response.connection, "sock", None)
    if sock is not None:
        sock.settimeout(seconds)


def _check(response: urllib3.BaseHTTPResponse, server: str) -> None:
    if response.status >= 400:
        raise _error(response, server)


def _error(response: urllib3.BaseHTTPResponse, server: str) -> ApiError:
    """Not every error is a Status: gateways answer by themselves."""
    after = response.headers.get("Retry-After", "")
    seconds = float(after) if after.isdigit() else 0.0
    try:
        text = _read(response, server)
        return ApiError.of(_parsed(text, server), response.status, seconds)
    except ApiUnreachable as unreadable:
        return ApiError(response.status, response.reason or "", str(unreadable), (), seconds)


def _why(error: Exception) -> str:
    """The innermost reason: urllib3 wraps what the kernel said."""
    if isinstance(error, http.client.IncompleteRead):
        return "the connection was closed"
    context = None if error.__suppress_context__ else error.__context__
    inner = getattr(error, "reason", None) or error.__cause__ or context
    if isinstance(inner, Exception) and inner is not error:
        return _why(inner)
    return str(error) or type(error).__name__
