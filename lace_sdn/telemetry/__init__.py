"""What a process tells about itself over HTTP: whether it lives, whether it is ready, and its metrics."""
