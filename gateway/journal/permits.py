"""Permits: the events that say what may be absent from the chain, each signed for the place at which it stands."""

from collections.abc import Mapping
from typing import Any

from gateway.journal.chain import Draft
from gateway.journal.entries import EntryKind, canonical_json, encode_payload
from gateway.journal.signing import SigningKey


def permit_text(gateway: str, sequence: int, body: Mapping[str, object]) -> bytes:
    """What the signature of a permit is over: whose it is, which entry it is, and all that it says."""
    return f"emg permit 1\n{gateway}\n{sequence}\n".encode() + canonical_json(body) + b"\n"


def signed_permit(key: SigningKey, gateway: str, sequence: int, body: Mapping[str, object]) -> dict[str, object]:
    """The body of the event as entry `sequence` carries it."""
    return {**body, "signature": key.sign(permit_text(gateway, sequence, body)).hex()}


def permit_draft(key: SigningKey, gateway: str, body: Mapping[str, object], stamp: dict[str, Any]) -> Draft:
    """The draft of the event, which is signed when it has its place."""

    def sign(sequence: int, _: bytes) -> bytes:
        signed = signed_permit(key, gateway, sequence, body)
        return encode_payload(EntryKind.EVENT, body=signed, **stamp)

    return Draft(stamp["at"], sign)
