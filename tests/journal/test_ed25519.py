"""The verifier's own Ed25519: RFC 8032's vectors, agreement with the cryptography package, and what strictness refuses."""

import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.journal.verify import ORDER, P, signature_holds

# RFC 8032 - §7.1: secret key, public key, message, signature of TEST 1, TEST 2, TEST 3 and TEST SHA(abc).
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc_hold(secret: str, public: str, message: str, signature: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    assert key.sign(bytes.fromhex(message)).hex() == signature  # copied rightly
    assert signature_holds(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))


def theirs(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def test_it_agrees_with_the_cryptography_package_on_good_and_on_damaged_signatures() -> None:
    chance = random.Random(8032)
    for _ in range(60):
        key = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        public, message = key.public_key().public_bytes_raw(), chance.randbytes(chance.randrange(200))
        signature = key.sign(message)
        assert signature_holds(public, message, signature)
        parts = [bytearray(public), bytearray(message or b"?"), bytearray(signature)]
        damaged = chance.choice(parts)
        bit = chance.randrange(8 * len(damaged))
        damaged[bit // 8] ^= 1 << bit % 8
        flipped = (bytes(parts[0]), bytes(parts[1]), bytes(parts[2]))
        assert not signature_holds(*flipped)
        assert not theirs(*flipped)


def test_a_second_writing_of_a_good_signature_is_refused() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public, signature = key.public_key().public_bytes_raw(), key.sign(b"message")
    scalar = int.from_bytes(signature[32:], "little")
    for times in range(1, 8):  # S + k L solves the equation as well; RFC 8032 - §5.1.7 asks for S < L
        other = signature[:32] + (scalar + times * ORDER).to_bytes(32, "little")
        assert not signature_holds(public, b"message", other)
    assert signature_holds(public, b"message", signature)


def test_what_is_no_point_or_not_the_one_way_to_write_it_is_no_key() -> None:
    zero = bytes(64)
    for y in range(19):  # y + p fits into 255 bits for these y alone
        assert not signature_holds((y + P).to_bytes(32, "little"), b"", zero)
    base = (4 * pow(5, -1, P) % P).to_bytes(32, "little")  # with S = 1 it solves the equation for the neutral point
    assert signature_holds((1).to_bytes(32, "little"), b"", base + (1).to_bytes(32, "little"))
    assert not signature_holds((1 | 1 << 255).to_bytes(32, "little"), b"", base + (1).to_bytes(32, "little"))
    assert not signature_holds((2).to_bytes(32, "little"), b"", zero)  # no point has y = 2
    for length in (0, 31, 33):
        assert not signature_holds(bytes(length), b"", zero)
    for length in (0, 63, 65):
        assert not signature_holds(bytes.fromhex(VECTORS[0][1]), b"", bytes(length))
