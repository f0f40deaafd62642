"""Every bad input is said with file, line, object, field, what was found, what is expected, and what happens now."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lace_sdn.kube.build import Built, build
from lace_sdn.kube.manifests import read
from lace_sdn.policy.ledger import Ledger
from lace_sdn.policy.relations import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD = Path(__file__).parent / "bad"
CASES = sorted(case.name for case in BAD.iterdir())
OF_SERVICES = [case for case in CASES if case.startswith("service-")]


def said(built: Built) -> str:
    """All problems, and conditions of objects and of what policies lose, one a line."""
    problems = [f"{problem}\n" for problem in built.problems]
    conditions = [
        f"{each.kind} {each.name}: {each.type}={each.status} {each.reason}: {each.message}\n"
        for each in (*built.conditions, *resolve(built.state).conditions)
    ]
    return "".join(problems + conditions)


def messages(path: Path) -> list[str]:
    return [str(problem) for problem in read(path).problems]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so what no permission means is seen as somebody else."""
    user = os.geteuid()
    os.seteuid(65534) if user == 0 else None
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("case", CASES)
def test_a_bad_folder_is_reported_exactly(case: str) -> None:
    """The folder ``bad/CASE`` says what stands in its ``said.txt``, word for word."""
    assert said(build(read(BAD / case), Ledger())) == (BAD / case / "said.txt").read_text()


@pytest.mark.parametrize("case", OF_SERVICES)
def test_a_bad_service_disturbs_no_other(case: str) -> None:
    """Each of these folders has a good one too, which has its VIP."""
    state = build(read(BAD / case), Ledger()).state
    assert [str(vip) for vip in state.service_by_id["shop/good"].vips] == ["10.96.0.1"]


def test_an_empty_folder_is_reported(tmp_path: Path) -> None:
    """No manifest at all is more likely a wrong path than a wish."""
    assert messages(tmp_path) == [
        (
            f"{tmp_path}: holds no manifests; expected at least one file *.yaml, *.yml or *.json; "
            "no objects are read"
        )
    ]


def test_a_folder_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    assert messages(tmp_path / "none") == [
        (
            f"{tmp_path}/none: does not exist; expected a folder with manifests (*.yaml, *.yml, *.json) or one such file; "
            "no objects are read"
        )
    ]


def test_a_folder_without_permission_is_reported() -> None:
    """Not every user may read every folder."""
    path = Path("/tmp") / f"lace-bad-{os.getpid()}"
    path.mkdir()
    (path / "cluster.yaml").write_text("")
    path.chmod(0)
    try:
        with as_nobody():
            found = messages(path)
    finally:
        path.chmod(0o700)
        (path / "cluster.yaml").unlink()
        path.rmdir()
    assert found == [
        (
            f"{path}: cannot be read: Permission denied; expected a readable folder or file; "
            "no objects are read"
        )
    ]


def test_a_file_and_a_folder_inside_without_permission_are_reported() -> None:
    """The readable files beside them are read."""
    path = Path("/tmp") / f"lace-part-{os.getpid()}"
    (path / "closed").mkdir(parents=True)
    (path / "good.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
    (path / "secret.yaml").write_text("")
    path.chmod(0o755)
    (path / "closed").chmod(0)
    (path / "secret.yaml").chmod(0)
    try:
        with as_nobody():
            found = read(path)
    finally:
        (path / "closed").rmdir()
        (path / "good.yaml").unlink()
        (path / "secret.yaml").unlink()
        path.rmdir()
    assert [str(problem) for problem in found.problems] == [
        "closed: cannot be read: Permission denied; its objects are not read",
        "secret.yaml: cannot be read: Permission denied; the file is left out",
    ]
    assert [manifest.identity.name for manifest in found.objects] == ["shop"]


def test_a_file_that_is_no_text_is_reported(tmp_path: Path) -> None:
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\r\n")
    assert messages(tmp_path) == ["picture.yaml: is not UTF-8 text (byte 0); the file is left out"]


def test_aliases_that_unfold_without_end_are_refused(tmp_path: Path) -> None:
    """A small file cannot fill the memory."""
    rows = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9))
    (tmp_path / "bomb.yaml").write_text(f"a0: &a0 [x]\n{rows}\n")
    (found,) = messages(tmp_path)
    assert "unfolds to more than" in found


def test_one_bad_object_does_not_stop_the_others(tmp_path: Path) -> None:
    """A bad document among good ones costs itself, a broken end of a file what follows it."""
    (tmp_path / "a.yaml").write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: one}\n---\nkind: Nonsense\n---\n"
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: two}\n---\n}\n"
    )
    (tmp_path / "b.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: three}\n")
    found = read(tmp_path)
    assert [manifest.identity.name for manifest in found.objects] == ["one", "two", "three"]
    assert len(found.problems) == 2
