"""Another key for the journal: signed over by the old one, told in the chain, and finished whenever the power goes."""

import json
import shutil
import stat
from pathlib import Path

import pytest

from gateway.check import init_main
from gateway.clocks import ReplayClock
from gateway.config import load_site
from gateway.errors import JournalError
from gateway.journal import rotation
from gateway.journal.entries import EntryKind
from gateway.journal.opening import newest_key
from gateway.journal.reader import entries
from gateway.journal.rotation import rotate
from gateway.journal.signing import SigningKey, load_key, make_key, private_file, site_key
from gateway.journal_keys import key_main, rotate_key_main
from tests.journal.journals import GATEWAY, START, open_journal
from tests.journal.signatures import is_signed

CLOCK = ReplayClock(START)


def begin(data_dir: Path) -> SigningKey:
    key = site_key(data_dir)
    with open_journal(data_dir / "journal", key=key) as journal:
        journal.append_checkpoint_now()
    return key


def test_the_old_key_hands_over_to_the_new_one(tmp_path: Path) -> None:
    old = begin(tmp_path)
    done = rotate(tmp_path, gateway_id=GATEWAY, clock=CLOCK)
    *_, event, checkpoint = entries(tmp_path / "journal")
    assert (done.before, done.sequence, event.sequence) == (old.id, 4, 4)
    assert set(event.body) == {"event", "before", "key", "public", "signature"}
    assert event.body["event"] == "key_rotated"
    assert (event.body["before"], event.body["key"], event.body["public"]) == (
        old.id,
        done.key.id,
        done.key.public.hex(),
    )
    text = f"emg key 1\n{GATEWAY}\n{old.id}\n{done.key.public.hex()}\n".encode()
    assert is_signed(old.public, text, bytes.fromhex(event.body["signature"]))
    assert (checkpoint.kind, checkpoint.body["key"], checkpoint.body["sequence"]) == ("checkpoint", done.key.id, 4)
    # the new key is the site's, as closely kept as the first, and nothing of the old one is left
    assert site_key(tmp_path).public == done.key.public != old.public
    folder = tmp_path / "keys"
    assert sorted(path.name for path in folder.iterdir()) == ["journal.key", "journal.pub"]
    assert stat.S_IMODE((folder / "journal.key").stat().st_mode) == 0o600
    assert (folder / "journal.pub").read_text().strip() == done.key.public.hex()
    with pytest.raises(JournalError, match=f"signed with key {done.key.id}, not with {old.id}"):
        open_journal(tmp_path / "journal", key=old)
    assert rotate(tmp_path, gateway_id=GATEWAY, clock=CLOCK).before == done.key.id


def test_a_lost_key_is_told_as_what_it_is(tmp_path: Path) -> None:
    old = begin(tmp_path)
    with pytest.raises(JournalError, match="the key is here"):
        rotate(tmp_path, gateway_id=GATEWAY, clock=CLOCK, lost=True)
    private_file(tmp_path).unlink()
    with pytest.raises(JournalError, match="--lost"):
        rotate(tmp_path, gateway_id=GATEWAY, clock=CLOCK)
    done = rotate(tmp_path, gateway_id=GATEWAY, clock=CLOCK, lost=True)
    *_, event, checkpoint = entries(tmp_path / "journal")
    told = {"event": "key_rotated", "before": old.id, "key": done.key.id, "public": done.key.public.hex(), "lost": True}
    assert event.body == told
    assert checkpoint.body["key"] == done.key.id == site_key(tmp_path).id


def test_a_key_that_was_mixed_up_may_be_given_up(tmp_path: Path) -> None:
    begin(tmp_path)
    private_file(tmp_path).unlink()
    mixed_up = make_key(tmp_path)
    with pytest.raises(JournalError, match=f"not with {mixed_up.id}"):
        rotate(tmp_path, gateway_id=GATEWAY, clock=CLOCK)
    done = rotate(tmp_path, gateway_id=GATEWAY, clock=CLOCK, lost=True)
    assert load_key(tmp_path).id == done.key.id != mixed_up.id


def test_no_key_changes_under_a_running_writer(tmp_path: Path) -> None:
    key = begin(tmp_path)
    with open_journal(tmp_path / "journal", key=key) as journal:
        with pytest.raises(JournalError, match="another writer holds this journal"):
            rotate(tmp_path, gateway_id=GATEWAY, clock=CLOCK)
        journal.append_checkpoint_now()
    assert newest_key(tmp_path / "journal") == key.id == load_key(tmp_path).id
    assert not private_file(tmp_path).with_name("journal.next.key").exists()


def test_where_there_is_nothing_to_change_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no journal yet"):
        rotate(tmp_path, gateway_id=GATEWAY, clock=CLOCK)
    open_journal(tmp_path / "journal").close_now()
    with pytest.raises(JournalError, match="not signed with any key yet"):
        rotate(tmp_path, gateway_id=GATEWAY, clock=CLOCK, lost=True)


class PowerCutError(Exception):
    """The moment at which a test stops the world."""


@pytest.mark.parametrize(
    ("step", "changed"),
    [
        ("prepare_next", False),
        ("Journal.append_now", False),
        ("take_over", True),
        ("Journal.append_checkpoint_now", True),
    ],
)
@pytest.mark.parametrize("lost", [False, True])
def test_a_rotation_that_is_interrupted_is_finished_or_did_not_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, changed: bool, lost: bool
) -> None:
    old = begin(tmp_path / "data")
    if lost:
        private_file(tmp_path / "data").rename(tmp_path / "copy.key")

    def cut(*_: object) -> None:
        raise PowerCutError

    with monkeypatch.context() as patched:
        target, _, name = step.rpartition(".")
        patched.setattr(getattr(rotation, target) if target else rotation, name, cut)
        with pytest.raises(PowerCutError):
            rotate(tmp_path / "data", gateway_id=GATEWAY, clock=CLOCK, lost=lost)
    if lost and not changed:
        with pytest.raises(JournalError, match=f"signed with key {old.id}"):
            site_key(tmp_path / "data")
        shutil.move(tmp_path / "copy.key", private_file(tmp_path / "data"))
    key = site_key(tmp_path / "data")
    assert (key.id != old.id) is changed
    with open_journal(tmp_path / "data" / "journal", key=key) as journal:
        journal.append_now(EntryKind.AUDIT, {})
        assert journal.append_checkpoint_now().key == key.id
    assert site_key(tmp_path / "data").id == key.id == newest_key(tmp_path / "data" / "journal")
    again = rotate(tmp_path / "data", gateway_id=GATEWAY, clock=CLOCK)
    assert again.before == key.id


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init_main([str(tmp_path / "plant"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["journal_key"]
    site_file = tmp_path / "plant" / "site.toml"
    site = load_site(site_file)
    assert told["file"] == str(private_file(site.data_dir))
    assert key_main([str(site_file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == {**told, "key_in_journal": None, "ok": True}
    assert rotate_key_main([str(site_file)]) == 2
    assert "no journal yet" in capsys.readouterr().err
    with rotation.Journal.open(
        site.data_dir / "journal", gateway_id=site.gateway_id, clock=CLOCK, key=site_key(site.data_dir)
    ):
        assert rotate_key_main([str(site_file)]) == 2
        assert "stop that process" in capsys.readouterr().err
    assert rotate_key_main([str(site_file), "--json"]) == 0
    changed = json.loads(capsys.readouterr().out)
    assert (changed["before"], changed["lost"], changed["sequence"]) == (told["key"], False, 3)
    assert key_main([str(site_file)]) == 0
    text = capsys.readouterr().out
    assert changed["public"] in text
    assert "is signed with this key" in text
    private_file(site.data_dir).unlink()
    assert key_main([str(site_file)]) == 2
    assert "not found" in capsys.readouterr().err
    make_key(site.data_dir)
    assert key_main([str(site_file)]) == 1
    assert f"is signed with key {changed['key']}" in capsys.readouterr().out
    assert rotate_key_main([str(site_file), "--lost"]) == 0
    assert f"from key {changed['key']} to key" in capsys.readouterr().out
