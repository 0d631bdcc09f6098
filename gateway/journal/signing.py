"""The key that signs the journal's checkpoints: made once, readable by its owner alone, changed by rotation."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.errors import JournalError
from gateway.journal.disk import make_directory, sync_directory, write_file
from gateway.journal.opening import newest_key

FOLDER = "keys"
PRIVATE, PUBLIC, NEXT = "journal.key", "journal.pub", "journal.next.key"
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key (RFC 8032). `public` has 32 bytes, `id` is what entries name the key by."""

    private: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self.private.public_key().public_bytes_raw()

    @property
    def id(self) -> str:
        """The first 16 hex digits of the SHA-256 of the public key."""
        return hashlib.sha256(self.public).hexdigest()[:16]

    def sign(self, text: bytes) -> bytes:
        """The signature of `text`, 64 bytes."""
        return self.private.sign(text)


def private_file(data_dir: Path) -> Path:
    """Where a site's private key lies."""
    return data_dir / FOLDER / PRIVATE


def rotation_text(gateway: str, before: str, public: bytes) -> bytes:
    """What the old key (id `before`) signs to hand over to the new one."""
    return f"emg key 1\n{gateway}\n{before}\n{public.hex()}\n".encode()


def make_key(data_dir: Path) -> SigningKey:
    """A new key for a site that has none. Raises JournalError when there is one already, or the disk fails."""
    path = private_file(data_dir)
    if path.exists():
        raise JournalError(f"{path}: there is a key already, and signatures rest on it; `emg journal rotate-key`")
    key = SigningKey(Ed25519PrivateKey.generate())
    _write(path, key)
    _write_public(data_dir, key)
    return key


def load_key(data_dir: Path) -> SigningKey:
    """The site's key. Raises JournalError when there is none, when others may read it, or when it is no key."""
    return _load(private_file(data_dir))


def site_key(data_dir: Path) -> SigningKey:
    """The key that the site's journal is to be opened with; made when neither the site nor its journal has one.

    A rotation that the power interrupted is finished. Raises JournalError as `load_key` does, and when the journal
    is signed with a key that is not here.
    """
    path, following = private_file(data_dir), private_file(data_dir).with_name(NEXT)
    if not path.exists() or following.exists():
        known = newest_key(data_dir / "journal")
        if known is not None and following.exists() and _load(following).id == known:
            return take_over(data_dir)
        if known is None and not path.exists():
            return make_key(data_dir)
        if not path.exists():
            raise JournalError(
                f"{path}: not found, and the journal is signed with key {known}. Put the file back from its copy; if "
                f"it is lost, `emg journal rotate-key SITE --lost` begins a new key, which verification will tell"
            )
    key = _load(path)
    if not path.with_name(PUBLIC).exists():
        _write_public(data_dir, key)
    return key


def prepare_next(data_dir: Path) -> SigningKey:
    """A new key, on the disk beside the one in use, which stays in use. Raises JournalError when the disk fails."""
    key = SigningKey(Ed25519PrivateKey.generate())
    _write(private_file(data_dir).with_name(NEXT), key)
    return key


def take_over(data_dir: Path) -> SigningKey:
    """Put the next key in the place of the one in use, which is gone afterwards. Raises JournalError."""
    path = private_file(data_dir)
    key = _load(path.with_name(NEXT))
    try:
        path.with_name(NEXT).replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise JournalError(f"{path}: the new key cannot be put in place: {error.strerror}; try again") from error
    _write_public(data_dir, key)
    return key


def _load(path: Path) -> SigningKey:
    try:
        mode = path.stat().st_mode
        if mode & _OTHERS:
            raise JournalError(
                f"{path}: others may use this private key (mode {mode & 0o777:04o}); run: chmod 600 {path}"
            )
        private = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError as error:
        raise JournalError(f"{path}: not found; `emg init` or the first `emg acquire` makes the key") from error
    except OSError as error:
        raise JournalError(f"{path}: the private key cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise JournalError(f"{path}: found no private key in PKCS#8 PEM without password: {error}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise JournalError(f"{path}: found a key of another kind; expected Ed25519")
    return SigningKey(private)


def _write(path: Path, key: SigningKey) -> None:
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        make_directory(path.parent.parent)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.parent.chmod(0o700)
        sync_directory(path.parent.parent)
        write_file(path, pem, mode=0o600)
    except OSError as error:
        raise JournalError(f"{path}: the private key cannot be written: {error.strerror}") from error


def _write_public(data_dir: Path, key: SigningKey) -> None:
    path = data_dir / FOLDER / PUBLIC
    try:
        write_file(path, f"{key.public.hex()}\n".encode(), mode=0o644)
    except OSError as error:
        raise JournalError(f"{path}: the public key cannot be written: {error.strerror}") from error
