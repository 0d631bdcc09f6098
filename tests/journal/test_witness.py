"""Checkpoints on their way to a witness: over HTTP(S) and MQTT, past failures, and back into the verifier.

The witnesses are foreign programs or the standard library's server: one appends each body to a file, the other is
`mosquitto_sub >> FILE`.
"""

import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.clocks import ReplayClock
from gateway.domain.destinations import BrokerAddress, WitnessKind, WitnessSettings
from gateway.errors import SinkBusy, SinkDenied, StoreError
from gateway.journal import witness
from gateway.journal.verify import main
from gateway.journal.witness import WitnessSender, WitnessState, post, witness_sender, witness_state
from tests.collectors.conftest import Mosquitto
from tests.journal.journals import START
from tests.journal.signed_journals import Hand, as_bytes, public_of, save
from tests.journal.witness_shop import open_shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    with open_shop(tmp_path / "kept.jsonl") as server:
        yield server


def url_of(server: http.server.ThreadingHTTPServer, scheme: str = "http", host: str = "127.0.0.1") -> str:
    return f"{scheme}://{host}:{server.server_address[1]}/checkpoints?site=1"


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def line_of(sequence: int) -> bytes:
    return as_bytes({"at": START, "gateway": "gw-test", "hash": "", "key": "", "sequence": sequence, "signature": ""})


def test_each_checkpoint_is_posted_as_one_line_with_the_token(
    shop: http.server.ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMG_WITNESS_TOKEN", "t0ken")
    settings = WitnessSettings(kind=WitnessKind.HTTPS, url=url_of(shop))
    sender = witness_sender(settings, gateway_id="gw-test", data_dir=tmp_path, clock=ReplayClock(START)).start()
    assert witness_state(tmp_path) is None
    for sequence in (3, 9):
        sender.offer(line_of(sequence))
        until(lambda number=sequence: sender.state.sent_sequence == number)
    sender.close()
    assert shop.asked == [("/checkpoints?site=1", "Bearer t0ken", line_of(number) + b"\n") for number in (3, 9)]
    assert witness_state(tmp_path) == WitnessState(9, START, 0, "")


@pytest.mark.parametrize(
    ("status", "headers", "error", "told"),
    [
        (401, {}, SinkDenied, "401 Unauthorized. Check EMG_WITNESS_TOKEN"),
        (403, {}, SinkDenied, "403"),
        (429, {"Retry-After": "7"}, SinkBusy, "429"),
        (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, SinkBusy, "503"),
        (500, {}, StoreError, "500"),
        (200, {"Content-Length": "1000000000"}, None, ""),  # more than anybody reads
    ],
)
def test_a_refusal_is_told_apart_and_an_endless_answer_is_not_read(
    shop: http.server.ThreadingHTTPServer, status: int, headers: dict[str, str], error: type[Exception], told: str
) -> None:
    shop.answers.append((status, headers, b"x" * 100_000 if error is None else b""))
    if error is None:
        post(url_of(shop), line_of(1))
        return
    with pytest.raises(error, match=told) as refused:
        post(url_of(shop), line_of(1))
    assert type(refused.value) is error
    assert getattr(refused.value, "retry_after_s", 7.0) == (7.0 if status != 503 else 0.0)


def test_no_redirection_is_followed(shop: http.server.ThreadingHTTPServer) -> None:
    shop.answers.append((307, {"Location": url_of(shop)}, b""))
    with pytest.raises(StoreError, match="307"):
        post(url_of(shop), line_of(1), token="t0ken")
    assert len(shop.asked) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_there_and_a_host_that_says_nothing(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:9 did not take the checkpoint"):
        post(f"{scheme}://127.0.0.1:9/", line_of(1))
    monkeypatch.setattr(witness, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(StoreError, match="timed out"):
        post(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/", line_of(1))


def test_https_trusts_whom_the_machine_trusts_and_checks_the_name(
    shop: http.server.ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    shop.socket = context.wrap_socket(shop.socket, server_side=True)
    shop.handle_error = lambda *_: None  # a refused handshake is what is wanted
    with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
        post(url_of(shop, "https", "localhost"), line_of(1))
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    post(url_of(shop, "https", "localhost"), line_of(2))
    with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
        post(url_of(shop, "https", "127.0.0.1"), line_of(3))
    assert shop.file.read_bytes() == line_of(2) + b"\n"


class Stubborn:
    """A way to a witness that fails until it is told otherwise."""

    def __init__(self) -> None:
        self.error: Exception | None = StoreError("the line is dead")
        self.tried: list[bytes] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, line: bytes) -> None:
        self.tried.append(line)
        assert self.open.wait(10)
        if self.error is not None:
            raise self.error


def sender_to(way: Stubborn, folder: Path) -> WitnessSender:
    state_file = folder / witness.NAME
    return WitnessSender(way, state_file=state_file, clock=ReplayClock(START), first_delay_s=0.01).start()


def test_a_witness_that_is_down_gets_the_newest_when_it_is_back(tmp_path: Path) -> None:
    way = Stubborn()
    sender = sender_to(way, tmp_path)
    sender.offer(line_of(1))
    until(lambda: len(way.tried) > 1)
    assert witness_state(tmp_path) == WitnessState(0, 0, 1, "the line is dead")
    way.open.clear()
    for number in range(2, 50):
        sender.offer(line_of(number))  # comes back at once, though the witness holds the thread
    way.error = None
    way.open.set()
    until(lambda: sender.state.sent_sequence == 49)
    sender.close()
    assert set(way.tried) <= {line_of(1), line_of(49)}
    assert witness_state(tmp_path) == WitnessState(49, START, 0, "")


def test_what_waits_at_the_end_is_tried_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = Stubborn()
    way.error = SinkDenied("who are you?")
    sender = sender_to(way, tmp_path)
    sender.offer(line_of(1))
    until(lambda: sender.state.error)
    way.error = None
    sender.close()  # a refusal of our credentials would have been tried again after a minute
    assert way.tried == [line_of(1), line_of(1)]
    assert sender.state.sent_sequence == 1


def test_the_end_does_not_wait_for_a_witness_that_hangs(tmp_path: Path) -> None:
    way = Stubborn()
    way.open.clear()
    sender = sender_to(way, tmp_path)
    sender.offer(line_of(1))
    until(lambda: way.tried)
    sender.close(within_s=0.05)
    assert sender.state.sent_sequence == 0
    way.open.set()
    sender._thread.join(10)


def test_whatever_goes_wrong_the_sender_goes_on(tmp_path: Path) -> None:
    way = Stubborn()
    way.error = ZeroDivisionError("nobody thought of this")
    sender = sender_to(way, tmp_path)
    sender.offer(line_of(1))
    until(lambda: sender.state.error == "nobody thought of this")
    way.error = None
    until(lambda: sender.state.sent_sequence == 1)
    sender.close()


def test_a_state_file_that_is_no_state_is_none(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"sent_sequence":"x"}'):
        (tmp_path / witness.NAME).write_text(text)
        assert witness_state(tmp_path) is None


def post_all(hand: Hand, shop: http.server.ThreadingHTTPServer, folder: Path) -> None:
    sender = witness_sender(
        WitnessSettings(kind=WitnessKind.HTTPS, url=url_of(shop)),
        gateway_id="gw-test",
        data_dir=folder,
        clock=ReplayClock(START),
    ).start()
    for claim in hand.witness:
        sender.offer(as_bytes(claim))
        until(lambda number=claim["sequence"]: sender.state.sent_sequence == number)
    sender.close()


def verified(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    code = main([str(word) for word in words])
    return code, capsys.readouterr().out.splitlines()[-1]


def test_a_cut_tail_and_an_older_copy_show_by_the_witness_alone(
    shop: http.server.ThreadingHTTPServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hand = Hand(1)
    for _ in range(4):
        hand.some(10)
        hand.checkpoint()
    post_all(hand, shop, tmp_path)
    key, kept = public_of(hand.key).hex(), shop.file
    assert len(kept.read_bytes().splitlines()) == len(hand.witness)
    save(hand.frames, tmp_path / "whole")
    assert verified(capsys, tmp_path / "whole", "--key", key, "--witness", kept)[0] == 0
    older = hand.witness[-2]["sequence"] + 1
    save(hand.frames[:older], tmp_path / "older")
    assert verified(capsys, tmp_path / "older", "--key", key)[0] == 0  # in itself it is in order
    code, told = verified(capsys, tmp_path / "older", "--key", key, "--witness", kept)
    assert code == 1
    assert f"entry {older + 1}: " in told
    assert f"the witness has one of entry {hand.witness[-1]['sequence']}" in told
    again = Hand(1)
    for _ in range(3):
        again.some(10)
        again.checkpoint()
    again.chance.seed(99)  # the gateway went on from the older copy and signed other things
    again.some(60)
    again.checkpoint()
    save(again.frames, tmp_path / "rolled back")
    assert verified(capsys, tmp_path / "rolled back", "--key", key)[0] == 0
    code, told = verified(capsys, tmp_path / "rolled back", "--key", key, "--witness", kept)
    assert code == 1
    forked = next(n for n, (one, other) in enumerate(zip(hand.frames, again.frames, strict=False), 1) if one != other)
    shows = next(claim["sequence"] for claim in hand.witness if claim["sequence"] >= forked)
    assert f"entry {shows}: the witness knows another" in told


@pytest.mark.servers
def test_an_mqtt_witness_is_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("mosquitto") is None or shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto and mosquitto_sub are not installed (apt-get install mosquitto mosquitto-clients)")
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    hand = Hand(7)
    hand.some(20)
    hand.checkpoint()
    address = BrokerAddress(host="127.0.0.1", port=broker.port, client_id="gw-test-witness")
    settings = WitnessSettings(kind=WitnessKind.MQTT, broker=address)
    kept = tmp_path / "kept.jsonl"
    command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port), "-q", "1", "-t", "emg/v1/checkpoints/+"]
    try:
        sender = witness_sender(settings, gateway_id="gw-test", data_dir=tmp_path, clock=ReplayClock(START)).start()
        sender.offer(as_bytes(hand.witness[0]))
        until(lambda: sender.state.sent_sequence)
        with kept.open("wb") as file, subprocess.Popen(command, stdout=file) as keeper:  # after the first: retained
            until(lambda: kept.stat().st_size)
            for claim in hand.witness[1:]:
                sender.offer(as_bytes(claim))
                until(lambda number=claim["sequence"]: sender.state.sent_sequence == number)
            until(lambda: len(kept.read_bytes().splitlines()) == len(hand.witness))
            keeper.terminate()
        sender.close()
    finally:
        broker.stop()
    save(hand.frames, tmp_path / "journal")
    assert verified(capsys, tmp_path / "journal", "--witness", kept)[0] == 0
    assert json.loads(kept.read_bytes().splitlines()[-1])["sequence"] == hand.witness[-1]["sequence"]
