"""Debian's mosquitto for the tests: a real broker, restarted, stopped and killed."""

import getpass
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path


class Mosquitto:
    """Debian's mosquitto on a free loopback port, with a configuration of its own and a persistent store."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.folder = folder
        self.options = ["allow_anonymous true"]
        self.listener: list[str] = []  # settings of the listener, such as its certificates
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            *self.listener,
            "persistence true",
            f"persistence_location {self.folder}/",
            "log_dest stderr",  # unbuffered: what a killed broker did stands there
        ]
        lines.append(f"user {getpass.getuser()}")  # started by root, it would give up its rights and lose its store
        config.write_text("\n".join([*lines, *self.options, ""]), "utf-8")
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(["mosquitto", "-c", str(config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self.folder / "mosquitto.log").read_text()
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise TimeoutError("mosquitto does not listen")

    def stop(self) -> None:
        """SIGTERM: it writes its store first."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def kill(self) -> None:
        """SIGKILL: what it has not written is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def publish(self, topic: str, payload: bytes | str, *options: str, qos: int = 1) -> None:
        """With mosquitto_pub: a foreign publisher. Returns when the broker has acknowledged."""
        data = payload.encode() if isinstance(payload, str) else payload
        self.run_pub("-t", topic, "-s" if data else "-n", "-q", str(qos), *options, data=data)

    def publish_lines(self, topic: str, lines: list[str], *, qos: int = 1) -> None:
        """One message a line, over one connection."""
        self.run_pub("-t", topic, "-l", "-q", str(qos), data="".join(f"{line}\n" for line in lines).encode())

    def run_pub(self, *options: str, data: bytes) -> None:
        command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.port), *options]
        subprocess.run(command, input=data, check=True, timeout=20)
