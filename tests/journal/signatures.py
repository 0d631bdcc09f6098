"""Ed25519 a second time: verification after RFC 8032, section 5.1.7, in the integers of Python and nothing else."""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = tuple[int, int, int, int]  # X, Y, Z, T with x = X/Z, y = Y/Z, x y = T/Z


def add(p: Point, q: Point) -> Point:
    """Addition on the curve -x2 + y2 = 1 + d x2 y2, as section 5.1.4 writes it."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(n: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while n:
        if n & 1:
            total = add(total, point)
        point, n = add(point, point), n >> 1
    return total


def are_equal(p: Point, q: Point) -> bool:
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 == (p[1] * q[2] - q[1] * p[2]) % P


def decompress(data: bytes) -> Point:
    value = int.from_bytes(data, "little")
    sign, y = value >> 255, value & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - square) % P == 0, "no point of the curve"
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(public: bytes, text: bytes, signature: bytes) -> bool:
    """True if `signature` is that of `text` by the owner of `public`."""
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        return False
    digest = hashlib.sha512(signature[:32] + public + text).digest()
    k = int.from_bytes(digest, "little") % L
    return are_equal(multiply(s, BASE), add(decompress(signature[:32]), multiply(k, decompress(public))))
