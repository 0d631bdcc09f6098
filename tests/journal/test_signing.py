"""The key that signs: RFC 8032's own vectors, a file that only its owner can read, and refusals that say the way out."""

import hashlib
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from gateway.errors import JournalError
from gateway.journal.signing import SigningKey, load_key, make_key, private_file, site_key
from tests.journal.journals import open_journal
from tests.journal.signatures import is_signed

# RFC 8032 - Edwards-Curve Digital Signature Algorithm (EdDSA) - §7.1, tests 1 to 3: secret, public, message, signature
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
            "4a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_signatures_are_those_of_the_rfc(secret: str, public: str, message: str, signature: str) -> None:
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)))
    assert key.public.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert key.id == hashlib.sha256(bytes.fromhex(public)).hexdigest()[:16]
    # the second implementation, on which the tests of checkpoints rest, says the same
    assert is_signed(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))
    assert not is_signed(bytes.fromhex(public), bytes.fromhex(message) + b"!", bytes.fromhex(signature))
    assert not is_signed(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature[:-2] + "01"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0, 0o077])
def test_the_private_key_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        key = make_key(tmp_path / "data")
    finally:
        os.umask(before)
    folder = tmp_path / "data" / "keys"
    assert (mode(folder), mode(folder / "journal.key")) == (0o700, 0o600)
    assert sorted(path.name for path in folder.iterdir()) == ["journal.key", "journal.pub"]
    assert (folder / "journal.pub").read_text() == key.public.hex() + "\n"
    assert (folder / "journal.key").read_text().startswith("-----BEGIN PRIVATE KEY-----\n")
    assert load_key(tmp_path / "data").public == key.public
    assert "rivate" not in repr(key)


def test_a_folder_that_others_may_enter_is_closed(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o755)
    make_key(tmp_path)
    assert mode(tmp_path / "keys") == 0o700


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    with pytest.raises(JournalError, match=r"journal\.key: there is a key already"):
        make_key(tmp_path)
    assert load_key(tmp_path).public == key.public


@pytest.mark.parametrize("others", [0o640, 0o604, 0o602, 0o610])
def test_a_key_that_others_may_use_is_refused_with_the_command_that_mends_it(tmp_path: Path, others: int) -> None:
    make_key(tmp_path)
    path = private_file(tmp_path)
    path.chmod(others)
    with pytest.raises(JournalError, match=rf"mode {others:04o}\); run: chmod 600 {path}"):
        load_key(tmp_path)
    path.chmod(0o600)
    load_key(tmp_path)


PLAIN = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
LOCKED = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "no private key"),
        (b"nonsense", "no private key"),
        (X25519PrivateKey.generate().private_bytes(*PLAIN), "another kind; expected Ed25519"),
        (Ed25519PrivateKey.generate().private_bytes(*LOCKED), "no private key in PKCS#8 PEM without password"),
    ],
)
def test_what_is_no_key_is_named(tmp_path: Path, data: bytes, found: str) -> None:
    make_key(tmp_path)
    private_file(tmp_path).write_bytes(data)
    with pytest.raises(JournalError, match=rf"journal\.key: found .*{found}|{found}"):
        load_key(tmp_path)


def test_a_missing_key_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"journal\.key: not found; `emg init`"):
        load_key(tmp_path)


def test_a_disk_that_refuses_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(JournalError, match=r"journal\.key: the private key cannot be written: .+"):
        make_key(tmp_path / "data")


def test_the_first_start_makes_the_key_and_later_ones_find_it(tmp_path: Path) -> None:
    key = site_key(tmp_path)
    (tmp_path / "keys" / "journal.pub").unlink()  # the power went between the two files
    assert site_key(tmp_path).public == key.public
    assert (tmp_path / "keys" / "journal.pub").read_text().strip() == key.public.hex()


def test_no_key_is_made_for_a_journal_that_another_one_signs(tmp_path: Path) -> None:
    key = site_key(tmp_path)
    open_journal(tmp_path / "journal", key=key).close_now()
    private_file(tmp_path).unlink()
    with pytest.raises(JournalError, match=rf"signed with key {key.id}. Put the file back .* rotate-key SITE --lost"):
        site_key(tmp_path)
    assert not private_file(tmp_path).exists()
