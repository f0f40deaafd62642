"""YAML and JSON text -> plain values in which every field knows its line.

YAML is read as Kubernetes reads it: the types of JSON only, so a time stamp stays text, and a key that stands
twice in a mapping is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import yaml

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from lace_sdn.kube.problems import Path

_TAG = "tag:yaml.org,2002:"
_COLLECTIONS = (_TAG + "map", _TAG + "seq")
_FEW_VALUES = 10_000
"""A document may unfold (by aliases) to this many values, or to as many as its file has characters."""

_DEEPEST = 100
"""Collections in one another; libyaml's composer calls itself for each and would end the process at some 20,000."""

_LONGEST_NUMBER = 64
"""Characters; what is longer stays text."""

_ITS_OWN_LIMIT = "maximum nesting depth"
"""Newer libyaml reads ahead and gives up by itself, far beyond ours."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCALARS = yaml.constructor.SafeConstructor()


@dataclass(frozen=True, slots=True)
class Document:
    """One document: dicts, lists, str, int, float, bool, None; and the line (from 1) of each path in it."""

    data: Any
    lines: dict[Path, int]


class NotYamlError(ValueError):
    """The text is not YAML (or not the part of it that Kubernetes takes); ``line`` counts from 1."""

    def __init__(self, line: int, found: str) -> None:
        super().__init__(found)
        self.line = line
        self.found = found


def documents(text: str) -> Iterator[Document]:
    """All documents of a file in their order, empty ones left out.

    Raises:
        NotYamlError: at the first document that cannot be read; those before it have been yielded.
    """
    loader = _LOADER(text)
    shallow = _shallow(text)
    try:
        while next(shallow, False) and loader.check_node():
            unfolding = _Unfolding(max(_FEW_VALUES, len(text)))
            data = unfolding.value(cast("yaml.Node", loader.get_node()), ())
            if data is not None:
                yield Document(data, unfolding.lines)
    except yaml.MarkedYAMLError as error:
        if _ITS_OWN_LIMIT in (error.problem or ""):
            raise _too_deep(_line(error)) from None
        raise NotYamlError(_line(error), f"is not YAML: {error.problem or error}") from None
    except yaml.YAMLError as error:
        raise NotYamlError(1, f"is not YAML: {' '.join(str(error).split())}") from None
    finally:
        shallow.close()
        loader.dispose()


def _shallow(text: str) -> Generator[bool, None, None]:
    """True for each document in turn, once its events show that it may be composed."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise _too_deep(event.start_mark.line + 1 if event.start_mark else 1)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentEndEvent):
            yield True


def _too_deep(line: int) -> NotYamlError:
    return NotYamlError(line, f"is nested more than {_DEEPEST} deep")


def _line(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return int(mark.line) + 1 if mark else 1


@dataclass(slots=True)
class _Unfolding:
    """Turns the nodes of one document into values, noting the line of each."""

    most: int
    lines: dict[Path, int] = field(default_factory=dict)

    def value(self, node: yaml.Node, path: Path) -> Any:
        if len(path) > _DEEPEST:
            raise _too_deep(node.start_mark.line + 1)
        self.lines.setdefault(path, node.start_mark.line + 1)
        if len(self.lines) > self.most:
            raise NotYamlError(node.start_mark.line + 1, f"unfolds to more than {self.most} values")
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            raise _no_json(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return _scalar(cast("yaml.ScalarNode", node))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _TAG + "merge":
                raise NotYamlError(line, "has a key that is no text (merge keys are not taken either)")
            key = str(key_node.value)
            if key in values:
                first = self.lines[(*path, key)]
                raise NotYamlError(line, f'has the key "{key}" twice in one mapping (first in line {first})')
            self.lines[(*path, key)] = line
            values[key] = self.value(value_node, (*path, key))
        return values


def _scalar(node: yaml.ScalarNode) -> Any:
    # Numbers of base 60 take the square of their length to read.
    is_long = len(node.value) > _LONGEST_NUMBER
    tag = node.tag.removeprefix(_TAG)
    try:
        match "str" if is_long and tag in ("int", "float") else tag:
            case "null":
                return None
            case "bool":
                return _SCALARS.construct_yaml_bool(node)
            case "int":
                return _SCALARS.construct_yaml_int(node)
            case "float":
                return _SCALARS.construct_yaml_float(node)
            case "str" | "timestamp" | "value":
                return node.value
    except ValueError:
        return node.value
    raise _no_json(node)


def _no_json(node: yaml.Node) -> NotYamlError:
    line = node.start_mark.line + 1
    return NotYamlError(line, f"has a value of the type {node.tag}, which JSON does not know")
