"""Compression of small things: most chunks are a few hundred bytes."""

import zlib


def deflate(plain: bytes | bytearray, *, level: int) -> bytes:
    """`plain` in zlib's format, which carries a checksum; `zlib.decompress` gives it back."""
    # A window no larger than needed: making ready a large one takes longer than packing a small chunk.
    small = len(plain) <= 1024
    compressor = zlib.compressobj(level, zlib.DEFLATED, 10 if small else 15, 3 if small else 8)
    return compressor.compress(plain) + compressor.flush()
