"""Manifests: the objects of a file or folder, each valid by itself, with the place of every field.

A bad object is left out and reported; the others stand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from lace_sdn.kube import rules
from lace_sdn.kube.documents import Document, NotYamlError, documents
from lace_sdn.kube.files import FolderError, Found, UnfitError, content_of, manifest_files
from lace_sdn.kube.kinds import EVERY, MAY_HAVE_MOVED, kinds_in
from lace_sdn.kube.problems import Finding, Path, Place, Problem, any_of, field_path, quoted
from lace_sdn.kube.schemas import RECORDS, Kind, kinds

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")

LEFT_OUT = "the object is left out"
FILE_LEFT_OUT = "the rest of the file is left out"
STAYS = "its last good state stays in force"
FILE_STAYS = "the last good state of its objects stays in force"


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """What names an object in a cluster; ``namespace`` is "" for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    @property
    def order(self) -> tuple[str, str]:
        """Among objects of one kind."""
        return (self.namespace, self.name)

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        return f'{self.kind} "{self.full_name}"'


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object. ``data`` has the schema's defaults filled in and is never changed; ``lines`` are of its fields."""

    identity: Identity
    data: Mapping[str, Any]
    file: str
    lines: Mapping[Path, int]
    _decoded: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def decoded(self, decoder: Callable[[Manifest], T]) -> T:
        """What ``decoder``, a pure function, makes of it; asked once."""
        if decoder not in self._decoded:
            self._decoded[decoder] = decoder(self)
        found: T = self._decoded[decoder]
        return found

    def place(self, path: Path = ()) -> Place:
        """The line of a field, or of the nearest field around it that is written."""
        return place_of(self.file, self.lines, path)

    def problem(self, finding: Finding, consequence: str) -> Problem:
        return Problem(
            self.place(finding.path),
            str(self.identity),
            field_path(finding.path),
            finding.found,
            finding.expected,
            consequence,
        )


@dataclass(frozen=True)
class Manifests:
    """All valid objects in order of file and line, and everything that is wrong.

    ``refused`` are the objects left out; ``unreadable`` the files (relative to the folder) that could not be
    read to their end, with "" for the folder itself; ``failed`` those among them that the system refused to read, which may
    be read another time although they did not change. ``hidden``: the kinds of which there may be objects in what was not read.
    """

    objects: tuple[Manifest, ...] = ()
    problems: tuple[Problem, ...] = ()
    refused: frozenset[Identity] = frozenset()
    unreadable: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()

    @cached_property
    def _by_kind(self) -> Mapping[str, list[Manifest]]:
        found: dict[str, list[Manifest]] = {}
        for each in self.objects:
            found.setdefault(each.identity.kind, []).append(each)
        return found

    def of_kind(self, kind: str) -> Iterator[Manifest]:
        return iter(self._by_kind.get(kind, ()))


def read(path: pathlib.Path) -> Manifests:
    """The objects of a file, or of all .yaml, .yml and .json files of a folder and the folders in it.

    Never raises for what it finds: everything wrong is a problem of the answer.
    """
    try:
        found = manifest_files(path)
    except FolderError as error:
        return nothing(str(path), error.found, error.expected)
    return merged([unreadable_folders(found), *(read_file(file, name) for name, file in found.files)])


def unreadable_folders(found: Found) -> Manifests:
    """What is known of the folders that may not be read: that they are there."""
    consequence = "its objects are not read"
    problems = tuple(Problem(Place(name), "", "", why, "", consequence) for name, why in found.unreadable)
    names = frozenset(f"{name}/" for name, _ in found.unreadable)
    return Manifests(
        problems=problems, unreadable=names, failed=names, hidden=EVERY if names else frozenset()
    )


def nothing(path: str, found: str, expected: str) -> Manifests:
    """What is read where nothing can be read."""
    consequence = "no objects are read"
    problem, whole = Problem(Place(path), "", "", found, expected, consequence), frozenset({""})
    return Manifests(problems=(problem,), unreadable=whole, failed=whole, hidden=EVERY)


def read_file(file: pathlib.Path, name: str) -> Manifests:
    """The objects of one file, which problems call ``name``."""
    content = None
    try:
        content = content_of(file)
        text = content.decode("utf-8-sig")
    except UnfitError as error:
        return unreadable(name, 0, str(error), "the file is left out")
    except OSError as error:
        found = unreadable(name, 0, f"cannot be read: {error.strerror}", "the file is left out")
        return replace(found, failed=found.unreadable)
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text (byte {error.start})"
        return unreadable(name, 0, what, "the file is left out", kinds_in(content or b""))
    return parse(text.replace("\t", " ") if name.endswith(".json") else text, name)


def parse(text: str, name: str) -> Manifests:
    """The objects of a text, which problems call ``name``."""
    parts: list[Manifests] = []
    try:
        for document in documents(text):
            parts += [_from_document(item, name) for item in _items(document)]
    except NotYamlError as error:
        hidden = kinds_in(text.encode(errors="replace"))
        parts.append(unreadable(name, error.line, error.found, FILE_LEFT_OUT, hidden))
    return merged(parts)


def unreadable(
    name: str, line: int, found: str, consequence: str, hidden: frozenset[str] = EVERY
) -> Manifests:
    """A file, called ``name``, that is not read to its end; 0 for no ``line``. ``hidden``: the kinds that it may hold."""
    problem = Problem(Place(name, line), "", "", found, "", consequence)
    return Manifests(problems=(problem,), unreadable=frozenset({name}), hidden=hidden)


def _items(document: Document) -> Iterator[Document]:
    """The document, or the objects of a ``kind: List`` (what ``kubectl get -o yaml`` prints) and the Lists in it."""
    data = document.data
    if not (isinstance(data, dict) and data.get("kind") == "List" and isinstance(data.get("items"), list)):
        yield document
        return
    by_item: dict[int, dict[Path, int]] = {}
    for path, line in document.lines.items():
        if len(path) > 1 and path[0] == "items" and isinstance(path[1], int):
            by_item.setdefault(path[1], {})[path[2:]] = line
    for index, item in enumerate(data["items"]):
        yield from _items(Document(item, by_item[index]))


def _from_document(document: Document, name: str) -> Manifests:
    data, lines = document.data, document.lines
    kind, wrong = _kind_of(data)
    identity = _identity(data, kind)
    if kind is None:
        return _left_out(identity, wrong, name, lines, _kinds_named(data))
    found = tuple(kind.findings(data))
    if found:
        return _left_out(identity, found, name, lines, frozenset({kind.name}))
    data = kind.with_defaults(data)
    # The CRD's own rules say the same in fewer words; they are asked where ours find nothing.
    found = tuple(rules.findings(kind.name, data)) or tuple(kind.broken_rules(data))
    if found or identity is None:
        return _left_out(identity, found, name, lines)
    return Manifests(objects=(Manifest(identity, data, name, lines),))


def _kinds_named(data: Any) -> frozenset[str]:
    """Of an object without a kind that we know."""
    return kinds_in(json.dumps(data, ensure_ascii=False, default=str).encode(errors="replace"))


def _kind_of(data: Any) -> tuple[Kind | None, tuple[Finding, ...]]:
    if not isinstance(data, dict):
        return None, (Finding((), f"{quoted(data)} is no object", "expected apiVersion, kind and metadata"),)
    version, name = data.get("apiVersion"), data.get("kind")
    known = kinds()
    if isinstance(version, str) and isinstance(name, str) and (version, name) in known:
        return known[version, name], ()
    versions = {kind.name: kind.api_version for kind in known.values()}
    choice = sorted([*(versions.keys() - RECORDS), "List"])
    if not isinstance(name, str):
        return None, (Finding(("kind",), "is missing", f"expected {any_of(choice)}"),)
    if name == "List":
        return None, (Finding(("items",), "is missing or no list", "expected the objects of the List"),)
    if name in versions:
        found = "is missing" if version is None else f"{quoted(version)} is unknown for {name}"
        return None, (Finding(("apiVersion",), found, f'expected "{versions[name]}"'),)
    close = get_close_matches(name, choice, n=1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    return None, (Finding(("kind",), f"{quoted(name)} is unknown", f"{hint}expected {any_of(choice)}"),)


def _identity(data: Any, kind: Kind | None) -> Identity | None:
    """The object's name as far as it can be known, also when the object is bad."""
    metadata = data.get("metadata") if isinstance(data, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str):
        return None
    namespace = metadata.get("namespace")
    if kind is None:
        return Identity(str(data.get("kind", "object")), "", name)
    if not kind.is_namespaced:
        return Identity(kind.name, "", name)
    return Identity(kind.name, namespace if isinstance(namespace, str) else "default", name)


def _left_out(
    identity: Identity | None,
    found: Iterable[Finding],
    name: str,
    lines: Mapping[Path, int],
    hidden: frozenset[str] = frozenset(),
) -> Manifests:
    """``hidden``: the kinds that an object without a name may be of."""
    subject = str(identity) if identity else ""
    problems = tuple(
        Problem(
            place_of(name, lines, finding.path),
            subject,
            field_path(finding.path),
            finding.found,
            finding.expected,
            LEFT_OUT,
        )
        for finding in found
    )
    if identity is None:
        return Manifests(problems=problems, hidden=hidden)
    return Manifests(problems=problems, refused=frozenset({identity}))


def place_of(file: str, lines: Mapping[Path, int], path: Path) -> Place:
    """The line of a field, or of the nearest field around it that is written."""
    while path and path not in lines:
        path = path[:-1]
    return Place(file, lines.get(path, 0))


def merged(parts: Iterable[Manifests]) -> Manifests:
    """All parts together; of two objects with one name the first stands."""
    objects: dict[Identity, Manifest] = {}
    problems: list[Problem] = []
    refused: set[Identity] = set()
    unreadable: set[str] = set()
    failed: set[str] = set()
    hidden: set[str] = set()
    for part in parts:
        for manifest in part.objects:
            first = objects.setdefault(manifest.identity, manifest)
            if first is not manifest:
                problems.append(_duplicate(manifest, first))
        problems += part.problems
        refused |= part.refused
        unreadable |= part.unreadable
        failed |= part.failed
        hidden |= part.hidden
    return Manifests(
        tuple(objects.values()),
        tuple(problems),
        frozenset(refused),
        frozenset(unreadable),
        frozenset(failed),
        frozenset(hidden),
    )


def _duplicate(second: Manifest, first: Manifest) -> Problem:
    path: Path = ("metadata", "name")
    finding = Finding(
        path, f'"{second.identity.name}" is used twice', f"expected once (first at {first.place(path)})"
    )
    return second.problem(finding, "the second object is left out, the first one stands")


def keep_last_good(previous: Manifests, new: Manifests) -> Manifests:
    """``new``, with the objects of ``previous`` that are missing only because they or their file became bad.

    An object that was really removed stays removed. Where an object was written twice, the one read now stands.
    """
    present = {manifest.identity for manifest in new.objects}
    kept = tuple(
        manifest
        for manifest in previous.objects
        if manifest.identity not in present
        and (
            manifest.identity in new.refused
            or _is_unreadable(manifest.file, new.unreadable)
            # It may have moved to where nobody can read.
            or manifest.identity.kind in new.hidden & MAY_HAVE_MOVED
        )
    )
    if not kept:
        return new
    problems = tuple(_as_kept(problem, kept, new.unreadable) for problem in new.problems)
    return replace(new, objects=new.objects + kept, problems=problems)


def _as_kept(problem: Problem, kept: Iterable[Manifest], unreadable: frozenset[str]) -> Problem:
    """The same problem, with what really happens now: the last good state stays."""
    if any(problem.subject == str(manifest.identity) for manifest in kept):
        return replace(problem, consequence=STAYS)
    about = unreadable & {"", problem.place.file, f"{problem.place.file}/"}
    if not problem.subject and any(_is_unreadable(manifest.file, about) for manifest in kept):
        return replace(problem, consequence=FILE_STAYS)
    return problem


def _is_unreadable(file: str, unreadable: frozenset[str]) -> bool:
    """Whether the file, or a folder around it (which ends in "/"; the whole is ""), could not be read."""
    return any(
        not name or name == file or (name.endswith("/") and file.startswith(name)) for name in unreadable
    )
