"""Where the API server is and who we are: by a kubeconfig, or by the pod's service account."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from apiserver import kubeconfig_of
from kubernetes.config import incluster_config

from lace_sdn.kube.api.client import Api, ApiUnreachable
from lace_sdn.kube.api.resources import NODES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from apiserver import ApiServer


def test_a_kubeconfig_leads_to_its_server(server: ApiServer, tmp_path: Path) -> None:
    api = Api.connect(server.kubeconfig(tmp_path), user_agent="someone")
    assert (api.server, api.list(NODES)[0]) == (server.url, [])
    assert server.requests["someone", "list", "", "nodes"] == 1


def test_another_address_may_be_given(server: ApiServer, tmp_path: Path) -> None:
    """Nodes do not ask the VIP that they themselves program."""
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig_of("http://10.96.0.1:443"))
    assert Api.connect(path, server=server.url + "/").list(NODES)[0] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "just text",
        "kind: Config",
        kubeconfig_of("http://x").replace("current-context: fake", ""),
        "\0",
    ],
    ids=["empty", "no YAML", "a list", "text", "no contexts", "no current one", "no text"],
)
def test_a_kubeconfig_that_says_nothing_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ApiUnreachable, match=f"{path} does not say how to reach the API server"):
        Api.connect(path)


@pytest.mark.parametrize("name", ["none", "."])
def test_a_kubeconfig_that_is_no_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ApiUnreachable, match="does not say how to reach the API server"):
        Api.connect(tmp_path / name)


def test_outside_of_a_pod_there_is_no_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ApiUnreachable, match="this pod's service account does not say"):
        Api.connect()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a service account, as a pod has it."""
    (tmp_path / "token").write_text("first")
    (tmp_path / "ca.crt").write_text("none is checked")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return tmp_path


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Time goes on by two minutes: tokens are read again each minute."""
    shift = [dt.timedelta()]

    class Time(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return dt.datetime.now(tz) + shift[0]

    class Module:
        datetime = Time
        timedelta = dt.timedelta

    monkeypatch.setattr(incluster_config, "datetime", Module)

    def go_on() -> None:
        shift[0] += dt.timedelta(minutes=2)

    return go_on


def test_a_pod_has_its_service_account(account: Path) -> None:
    api = Api.connect()
    assert api.server == "https://[fd00::1]:443"
    assert api._headers("")["authorization"] == "bearer first"


def test_a_token_that_was_renewed_is_read_again(account: Path, later: Callable[[], None]) -> None:
    """Tokens of pods last an hour."""
    api = Api.connect()
    (account / "token").write_text("second")
    assert api._headers("")["authorization"] == "bearer first"
    later()
    assert api._headers("")["authorization"] == "bearer second"


def test_the_given_address_stays_when_the_token_is_read_again(
    server: ApiServer, account: Path, later: Callable[[], None]
) -> None:
    api = Api.connect(server=server.url)
    later()
    assert api.list(NODES)[0] == []
    later()
    assert api.list(NODES)[0] == []


@pytest.mark.parametrize("is_there", [True, False])
def test_a_token_that_cannot_be_read_is_no_answer(
    server: ApiServer, account: Path, later: Callable[[], None], is_there: bool
) -> None:
    """Whoever asks tries again: the kubelet is just writing it."""
    api = Api.connect(server=server.url)
    (account / "token").write_text("") if is_there else (account / "token").unlink()
    later()
    with pytest.raises(ApiUnreachable):
        api.list(NODES)
    (account / "token").write_text("third")
    assert api.list(NODES)[0] == []
