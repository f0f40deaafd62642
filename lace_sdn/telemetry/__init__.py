"""What a process tells about itself over HTTP: whether it lives, whether it is ready, and its metrics."""

from lace_sdn.telemetry.server import Server, serve

__all__ = ["Server", "serve"]
