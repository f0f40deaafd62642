"""What the API server says when it does not do what it was asked (Kubernetes API: Status)."""

from __future__ import annotations

from typing import Any


class Refused(Exception):  # noqa: N818 - an answer
    """An answer that is an error."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        causes: tuple[tuple[str, str, str], ...] = (),
        about: tuple[str, str, str] = ("", "", ""),
    ) -> None:
        """``causes``: (reason, message, field); ``about``: name, group, plural."""
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.causes = causes
        self.about = about

    def status(self) -> dict[str, Any]:
        """The Status object."""
        name, group, kind = self.about
        details: dict[str, Any] = {
            key: value for key, value in (("name", name), ("group", group), ("kind", kind)) if value
        }
        if self.causes:
            details["causes"] = [
                {"reason": reason, "message": message, "field": field}
                for reason, message, field in self.causes
            ]
        found: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        return found | ({"details": details} if details else {})


def not_found(plural: str, group: str, name: str) -> Refused:
    return Refused(404, "NotFound", f'{_full(plural, group)} "{name}" not found', about=(name, group, plural))


def already_exists(plural: str, group: str, name: str) -> Refused:
    message = f'{_full(plural, group)} "{name}" already exists'
    return Refused(409, "AlreadyExists", message, about=(name, group, plural))


def conflict(plural: str, group: str, name: str, why: str = "") -> Refused:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {_full(plural, group)} "{name}": {why}'
    return Refused(409, "Conflict", message, about=(name, group, plural))


def invalid(kind: str, group: str, name: str, causes: tuple[tuple[str, str, str], ...]) -> Refused:
    """``causes``: (reason, message, field)."""
    said = [f"{field}: {message}" for _, message, field in causes]
    listed = said[0] if len(said) == 1 else "[" + ", ".join(said) + "]"
    qualified = f"{kind}.{group}" if group else kind
    message = f'{qualified} "{name}" is invalid: {listed}'
    return Refused(422, "Invalid", message, causes, (name, group, kind))


def expired(version: int, first: int) -> Refused:
    return Refused(410, "Expired", f"too old resource version: {version} ({first})")


def bad_request(message: str) -> Refused:
    return Refused(400, "BadRequest", message)


def _full(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural
