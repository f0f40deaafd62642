"""Manifests that cost much to read for their size, as a tenant could write them."""

from __future__ import annotations

SIZE = 2**19
NETWORK = "apiVersion: lace-cni.io/v1alpha1\nkind: Network\nmetadata: {name: n}\nspec:\n  type: external\n"
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: n%d}\n---\n"


def _filled(part: str, size: int = SIZE) -> str:
    return part * (size // len(part))


BRACKETS = f"[{_filled('[' * 90 + ']' * 90 + ',', 2**21)}]"
"""2 MiB: 20 s of processor time and 1 GiB, where it is read to its end."""

TEXTS = {
    "brackets": BRACKETS,
    "braces": f"[{_filled('{a: {b: 1}},')}]",
    "aliases": f"a: &a [{'x,' * 9000}]\nb: [{_filled('*a,')}]",
    "alias-bomb": "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)),
    "text": f"a: {_filled('x')}",
    "number": f"a: {_filled('9')}",
    "number-of-base-60": f"a: 1{_filled(':1')}",
    "fraction": f"a: 1.{_filled('9')}",
    "indentation": "\n".join(f"{' ' * number}a:" for number in range(1900)),
    "keys": "".join(f"k{number}: 1\n" for number in range(SIZE // 12)),
    "fields": NETWORK + "".join(f"  ipv4Subne{number}: 1\n" for number in range(SIZE // 24)),
    "list": f"{NETWORK}  externalPrefixes: [{_filled('{a: 1},')}]\n",
    "documents": "".join(NAMESPACE % number for number in range(SIZE // len(NAMESPACE))),
    "empty-documents": _filled("---\n"),
    "bad-documents": _filled("--- a\n"),
    "line": f"# {_filled('x')}\na: 1",
}
