"""`emg simulate`: a lab goes on the wire and says where; what cannot run is one sentence."""

import asyncio
import json
import struct
from datetime import UTC, datetime

from gateway.clocks import SystemClock
from gateway.domain.periods import to_instant
from simulators.lab import load_lab
from simulators.plant import Plant
from simulators.simulate import FastClock, put_on_wire, simulate_main
from simulators.truth import read_truth, truth_of


def test_the_lab_goes_on_the_wire_and_says_where(tmp_path, capsys):
    truth = tmp_path / "truth.jsonl"
    code = simulate_main(
        [
            "cement",
            "--seconds",
            "0.3",
            "--json",
            "--truth",
            str(truth),
            "--drop",
            str(tmp_path),
            "--mqtt",
            "127.0.0.1:1",
        ]
    )
    printed = json.loads(capsys.readouterr().out)
    assert code == 0
    assert len(printed["meters"]) == 17
    assert set(printed["ports"]) == {"el", "pr"}
    assert all(port > 0 for port in printed["ports"].values())
    records = read_truth(truth)
    assert truth_of(records).epoch == printed["epoch"]
    assert records.series["cement-1/C-BELT/mass"].port == printed["ports"]["pr"]


def test_the_table_for_people_names_every_point(tmp_path, capsys):
    assert simulate_main(["cement", "--seconds", "0.1", "--drop", str(tmp_path), "--mqtt", "127.0.0.1:1"]) == 0
    printed = capsys.readouterr().out
    assert all(point.id in printed for point in load_lab("cement").point)


def test_what_cannot_run_is_a_sentence_and_exit_code_2(tmp_path, capsys):
    assert simulate_main([str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
    assert simulate_main(["cement", "--epoch", "yesterday"]) == 2
    assert simulate_main(["cement", "--epoch", "2026-10-01T00:00:01+08:00"]) == 2
    assert "quarter-hour boundary" in capsys.readouterr().err


async def test_a_running_lab_answers_with_the_truth_of_now(tmp_path):
    clock = SystemClock()
    plant = Plant(load_lab("cement"), epoch=clock.now() // 900_000_000 * 900_000_000 - 900_000_000)
    lab = await put_on_wire(plant, clock, broker=("127.0.0.1", 1), drop=tmp_path)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.ports["pr"])
        before = clock.now()
        writer.write(struct.pack(">HHHBBHH", 1, 0, 6, 31, 3, 1015, 2))
        answer = await asyncio.wait_for(reader.readexactly(13), 5)
        after = clock.now()
        writer.close()
    finally:
        await lab.stop()
    shown = struct.unpack(">I", answer[9:])[0]
    assert plant.register_at("C-BELT", "mass", before) <= shown <= plant.register_at("C-BELT", "mass", after)


def test_a_fast_clock_runs_fast():
    start = to_instant(datetime(2026, 10, 1, tzinfo=UTC))
    clock = FastClock(start, 3600)

    async def an_hour():
        await clock.sleep_until(start + 3_600_000_000)

    asyncio.run(asyncio.wait_for(an_hour(), 10))  # an hour of the plant is a second of ours
    assert clock.now() >= start + 3_600_000_000
