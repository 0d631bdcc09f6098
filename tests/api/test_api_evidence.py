"""What the journal proves, over HTTP: corrections of one's own enterprise with both values, and signed checkpoints."""

from pathlib import Path

from gateway.clocks import ReplayClock
from gateway.handing_in import hand_in
from gateway.journal.checkpoints import signed_text
from gateway.journal.correction_bodies import Correction, decision_body, proposal_body
from gateway.journal.entries import EntryKind
from gateway.journal.reader import entries, newest_sequence
from gateway.journal.signing import load_key, make_key
from gateway.journal.writer import Journal
from tests.api.works import DAY, QUARTER, Caller, acquire_day, application, at, record, settle, site_in

GAS = "alpha/alpha-gas/volume"


async def test_a_correction_shows_both_values_and_both_names_to_its_enterprise_alone(tmp_path: Path) -> None:
    site = site_in(tmp_path)
    acquire_day(site)
    instant = at(f"{DAY}T00:00") + QUARTER
    wrong = Correction(GAS, (instant,), (1100,), "display misread")
    body = proposal_body(wrong, was=[1000])
    clock = ReplayClock(at(f"{DAY}T12:00"))
    number = hand_in(site, [(EntryKind.CORRECTION, body)], origin="test", author="Wang Li", clock=clock).last_sequence
    decision = decision_body(body, number, approved=True, reason="seen on the photograph")
    hand_in(
        site, [(EntryKind.CORRECTION, decision)], origin="test", author="Zhao Min", clock=ReplayClock(clock.now() + 1)
    )
    settle(site)
    record(site)
    caller = Caller(application(site))
    [told] = await caller.json("/api/v1/corrections", enterprise="alpha")
    assert (told["was"], told["values"], told["unit"]) == (["10.00"], ["11.00"], "m3")
    assert (told["author"], told["decision"]["by"], told["decision"]["state"]) == ("Wang Li", "Zhao Min", "approved")
    assert await caller.json("/api/v1/corrections", enterprise="beta") == []
    [reading] = await caller.json(
        "/api/v1/readings", enterprise="alpha", point="alpha-gas", start=instant, end=instant + 1
    )
    assert (reading["value"], reading["quality"], reading["reason"]) == (
        "11.00",
        "substituted|corrected",
        f"correction.{number}",
    )
    # 1 m3 moved from the second quarter-hour into the first; the day is what it was
    intervals = await caller.json("/api/v1/intervals", enterprise="alpha", point="alpha-gas", period=DAY)
    assert [one["counts"] for one in intervals["intervals"][:3]] == [1100, 900, 1000]


async def test_a_claim_of_what_was_read_is_never_shown(tmp_path: Path) -> None:
    site = site_in(tmp_path)
    acquire_day(site)
    claim = proposal_body(Correction(GAS, (at(f"{DAY}T00:00") + QUARTER,), (1100,), "why"), was=[6])
    clock = ReplayClock(at(f"{DAY}T12:00"))
    with Journal.open(site.data_dir / "journal", gateway_id=site.gateway_id, clock=clock) as journal:
        await journal.append(EntryKind.CORRECTION, claim)  # as an older journal may hold it
    settle(site)
    record(site)
    [told] = await Caller(application(site)).json("/api/v1/corrections", enterprise="alpha")
    assert told["was"] == ["10.00"]


async def test_checkpoints_are_given_as_a_witness_keeps_them(tmp_path: Path) -> None:
    site = site_in(tmp_path)
    acquire_day(site)
    make_key(site.data_dir)
    key = load_key(site.data_dir)
    with Journal.open(
        site.data_dir / "journal", gateway_id=site.gateway_id, clock=ReplayClock(at(f"{DAY}T12:00")), key=key
    ) as journal:
        await journal.append_checkpoint()
        await journal.append_checkpoint()
    settle(site)
    record(site)
    caller = Caller(application(site))
    first, second = await caller.json("/api/v1/journal/checkpoints")
    head = {entry.sequence: entry.hash.hex() for entry in entries(site.data_dir / "journal")}
    assert head[first["sequence"]] == first["hash"]
    assert second["sequence"] == newest_sequence(site.data_dir / "journal") - 1
    text = signed_text(first["gateway"], first["sequence"], first["hash"], first["at"])
    assert key.sign(text).hex() == first["signature"]
    assert await caller.json("/api/v1/journal/checkpoints", after=first["sequence"] + 1) == [second]
