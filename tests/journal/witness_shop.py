"""A witness for tests: the standard library's HTTP server, which appends what it gets to a file."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Shop(http.server.BaseHTTPRequestHandler):
    """A witness that appends what it gets to `server.file`, or answers as `server.answers` says."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers.get("Authorization"), body))
        status, headers, answer = self.server.answers.pop(0) if self.server.answers else (204, {}, b"")
        if 200 <= status < 300:
            with self.server.file.open("ab") as file:
                file.write(body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(answer)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def open_shop(file: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    """Serves on a free port; `asked` is what it was sent, `answers` (status, headers, body) what it says first."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    server.asked, server.answers, server.file = [], [], file
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
