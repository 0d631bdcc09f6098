"""`emg serve` as a process: it answers on loopback, keeps the ledger in step, and ends when told to."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request

from api.serve import serve_main
from tests.api.works import SITE, acquire_day, settle, site_in


def test_serve_answers_on_a_free_port_and_ends_when_told(tmp_path):
    site = site_in(tmp_path)
    acquire_day(site)
    settle(site)
    command = [sys.executable, "-m", "gateway", "serve", str(site.file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stderr.readline()
            assert line.startswith("serving http://127.0.0.1:"), line + process.stderr.read()
            url = line.split()[1]
            with urllib.request.urlopen(f"{url}api/v1/instruments?enterprise=beta", timeout=10) as answer:
                # the topology was recorded by the start alone
                assert [one["id"] for one in json.load(answer)] == ["BETA-E1"]
                assert "server" not in answer.headers
        finally:
            process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=10)
    assert (process.returncode, output, errors) in [(0, "", ""), (-signal.SIGTERM, "", "")]


def test_a_port_that_is_taken_is_told_in_one_sentence(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = tmp_path / "site.toml"
        file.write_text(SITE.replace("port = 0", f"port = {port}"), encoding="utf-8")
        assert serve_main([str(file)]) == 1
    assert capsys.readouterr().err == f"127.0.0.1:{port} cannot be listened on: Address already in use\n"


def test_a_site_file_that_does_not_hold_is_exit_2(tmp_path, capsys):
    assert serve_main([str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
