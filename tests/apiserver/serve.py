"""The fake API server as a process: ``python tests/apiserver/serve.py --address 127.0.0.1:0 --kubeconfig FILE [--data-file FILE]``."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from apiserver import ApiServer, kubeconfig_of


def main() -> None:
    """Serve until SIGTERM; the kubeconfig appears when it is ready."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1:0")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--data-file", type=Path)
    options = parser.parse_args()
    host, _, port = options.address.rpartition(":")
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with ApiServer((host.strip("[]"), int(port)), file=options.data_file) as server:
        draft = options.kubeconfig.with_suffix(".new")
        draft.write_text(kubeconfig_of(server.url))
        draft.replace(options.kubeconfig)
        ended.wait()


if __name__ == "__main__":
    main()
