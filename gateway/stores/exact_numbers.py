"""Numbers that a store gives back exactly as it got them."""

import math

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def is_count(value: object) -> bool:
    """True for an integer of 64 bits, and nothing that mimics one (a bool, a number of another library)."""
    return type(value) is int and INT64_MIN <= value <= INT64_MAX


def comes_back(value: object) -> bool:
    """True for a count, and for a finite float; SQLite would turn NaN into nothing."""
    return is_count(value) or (type(value) is float and math.isfinite(value))
