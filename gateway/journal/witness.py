"""The way of checkpoints to a witness, who keeps them elsewhere: then a journal cut off or rolled back shows.

A thread of its own sends them: a witness that is slow or down never delays the journal. Of several that wait only
the newest is sent, because it covers all before it.
"""

import http.client
import json
import logging
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from gateway.clocks import Clock
from gateway.destinations import secret
from gateway.domain.destinations import BrokerAddress, WitnessKind, WitnessSettings
from gateway.errors import GatewayError, SinkBusy, SinkDenied, StoreError
from gateway.mqtt_publishing import Publisher

NAME = "witness.state"
TIMEOUT_S = 10.0  # of each step: connecting, sending, the answer
LONGEST_ANSWER = 65536  # bytes; what a witness says is of no interest, only that it has taken the checkpoint
FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 60.0
ASKED_AT_MOST_S = 3600.0  # what a busy witness may ask us to wait
log = logging.getLogger("emg.witness")


class WitnessState(NamedTuple):
    """How the witness stands: the newest entry it knows and since when [us, UTC], and what keeps the next from it."""

    sent_sequence: int  # 0: none yet
    sent_at: int
    waiting_sequence: int  # 0: nothing waits
    error: str  # "" while all is in order


class WitnessSender:
    """Sends the newest checkpoint with `send` until that succeeds; `send` raises GatewayError when it does not.

    `offer` is what `keep_checking` calls with each checkpoint. How it stands is written to `state_file`.
    """

    def __init__(
        self,
        send: Callable[[bytes], None],
        *,
        state_file: Path,
        clock: Clock,
        first_delay_s: float = FIRST_DELAY_S,
    ) -> None:
        self.state = WitnessState(0, 0, 0, "")
        self._send, self._state_file, self._clock, self._first_delay_s = send, state_file, clock, first_delay_s
        self._newest: bytes | None = None
        self._ending = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="emg-witness", daemon=True)

    def start(self) -> Self:
        """Begin to send."""
        self._thread.start()
        return self

    def offer(self, line: bytes) -> None:
        """A new checkpoint, as its line; returns at once, from any thread."""
        with self._changed:
            self._newest = line
            self._changed.notify_all()

    def close(self, within_s: float = 3.0) -> None:
        """Try what waits once more, and end; a witness that does not answer is left alone after `within_s` [s]."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(within_s)

    def _work(self) -> None:
        delay_s = self._first_delay_s
        while (line := self._next()) is not None:
            sequence = int(json.loads(line)["sequence"])
            failure = self._attempt(line)
            if failure is None:
                delay_s = self._first_delay_s
                self._tell(WitnessState(sequence, self._clock.now(), 0, ""))
                continue
            self._tell(self.state._replace(waiting_sequence=sequence, error=str(failure)))
            asked_s = failure.retry_after_s if isinstance(failure, SinkBusy) else 0.0
            wait_s = LONGEST_DELAY_S if isinstance(failure, SinkDenied) else max(delay_s, asked_s)
            self._put_back(line, min(wait_s, ASKED_AT_MOST_S))
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)

    def _attempt(self, line: bytes) -> Exception | None:
        try:
            self._send(line)
        except GatewayError as error:
            return error
        except Exception as error:  # whatever it was, the thread goes on
            log.exception("a checkpoint could not be sent")
            return error
        return None

    def _next(self) -> bytes | None:
        """The newest checkpoint, as soon as there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ending)
            line, self._newest = self._newest, None
            return line

    def _put_back(self, line: bytes, wait_s: float) -> None:
        """Keep what was not sent, unless a newer one has come or nothing more is to be sent; then wait."""
        with self._changed:
            if self._ending:
                self._newest = None
            else:
                self._changed.wait_for(lambda: self._ending, wait_s)
                self._newest = self._newest or line

    def _tell(self, state: WitnessState) -> None:
        if state.error != self.state.error:
            if state.error:
                log.warning("witness: %s; checkpoints wait for it", state.error)
            else:
                log.info("witness: has the checkpoint of entry %d", state.sent_sequence)
        self.state = state
        with suppress(OSError):  # a full disk; the log has told it
            partial = self._state_file.with_name(self._state_file.name + ".partial")
            partial.write_text(json.dumps(state._asdict()), "utf-8")
            partial.replace(self._state_file)


def witness_sender(settings: WitnessSettings, *, gateway_id: str, data_dir: Path, clock: Clock) -> WitnessSender:
    """The sender for a site's `[witness]`, with the secrets of the environment. Raises ConfigError."""
    return WitnessSender(_way_to(settings, gateway_id), state_file=data_dir / NAME, clock=clock)


def witness_state(data_dir: Path) -> WitnessState | None:
    """What the acquiring process said last; None when it has never had to do with a witness."""
    try:
        told = json.loads((data_dir / NAME).read_bytes())
        return WitnessState(**{name: kind(told[name]) for name, kind in WitnessState.__annotations__.items()})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _way_to(settings: WitnessSettings, gateway_id: str) -> Callable[[bytes], None]:
    if settings.kind is WitnessKind.HTTPS:
        token = secret("EMG_WITNESS_TOKEN")
        return lambda line: post(settings.url, line, token=token)
    broker, password = settings.broker, secret("EMG_WITNESS_PASSWORD")
    if broker is None:
        raise ValueError("a witness of kind mqtt has a broker")
    return lambda line: _publish(broker, password, f"{settings.topic}/{gateway_id}", line)


def _publish(broker: BrokerAddress, password: str, topic: str, line: bytes) -> None:
    with Publisher(broker, password) as publisher:
        publisher.publish(topic, line, retain=True)


def post(url: str, line: bytes, *, token: str = "") -> None:
    """POST one checkpoint; done when the witness has answered 2xx. No redirection is followed.

    Raises SinkDenied on 401 and 403, SinkBusy on 429 and 503, StoreError on anything else that is no 2xx.
    """
    parts = urlsplit(url)
    where = f"{parts.scheme}://{parts.netloc}"
    connection = _connection(parts.scheme, parts.hostname or "", parts.port)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, line + b"\n", headers)
        answer = connection.getresponse()
        answer.read(LONGEST_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        raise StoreError(f"{where} did not take the checkpoint: {error!r}") from error
    finally:
        connection.close()
    if 200 <= answer.status < 300:
        return
    told = f"{where} refuses the checkpoint: {answer.status} {answer.reason}"
    if answer.status in {401, 403}:
        raise SinkDenied(f"{told}. Check EMG_WITNESS_TOKEN.")
    if answer.status in {429, 503}:
        asked = answer.headers.get("Retry-After", "")
        raise SinkBusy(told, retry_after_s=float(asked) if asked.isascii() and asked.isdigit() else 0.0)
    raise StoreError(told)


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
