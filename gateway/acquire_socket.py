"""The acquiring process asked how it fares: a socket in the data folder, for whoever may read that folder."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "acquire.sock"
COUNTS, METRICS = "/counts", "/metrics"  # one JSON object a line; Prometheus's text format
_RUNNING = """# HELP emg_acquire_running Whether the acquiring process answers.
# TYPE emg_acquire_running gauge
emg_acquire_running """
RUNNING, NOT_RUNNING = f"{_RUNNING}1\n", f"{_RUNNING}0\n"  # the first metric, which is told by others where none runs
_MOST_BYTES = 1 << 26


@contextmanager
def short_path(data_dir: Path) -> Iterator[str]:
    """The socket's path by way of an open folder: the system takes no path of more than 107 bytes. Raises OSError."""
    folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)


def ask_acquire(data_dir: Path, what: str, *, timeout_s: float = 5.0) -> str | None:
    """What the acquiring process of this data folder answers to COUNTS or METRICS; None when there is none.

    `timeout_s` [s] is for each piece of its answer.
    """
    try:
        with short_path(data_dir) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(path)
            connection.sendall(f"GET {what} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = bytearray()
            while len(answer) < _MOST_BYTES and (piece := connection.recv(1 << 16)):
                answer += piece
    except OSError:
        return None
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    return body.decode() if head.startswith(b"HTTP/1.1 200 ") else None
