"""Names of people: what may stand for one, so that no two names look alike and are two people all the same."""

import unicodedata

LONGEST = 200  # characters
_UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}  # categories of characters that print nothing, or anything
# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt (UAX #44): what a renderer leaves out. And two
# that print nothing without being of it: the empty braille pattern and the Khitan filler.
_IGNORABLE = (
    *(range(0x00AD, 0x00AE), range(0x034F, 0x0350), range(0x061C, 0x061D), range(0x115F, 0x1161)),
    *(range(0x17B4, 0x17B6), range(0x180B, 0x1810), range(0x200B, 0x2010), range(0x202A, 0x202F)),
    *(range(0x2060, 0x2070), range(0x3164, 0x3165), range(0xFE00, 0xFE10), range(0xFEFF, 0xFF00)),
    *(range(0xFFA0, 0xFFA1), range(0xFFF0, 0xFFF9), range(0x1BCA0, 0x1BCA4), range(0x1D173, 0x1D17B)),
    *(range(0xE0000, 0xE1000), range(0x2800, 0x2801), range(0x16FE4, 0x16FE5)),
)
_LOOKALIKE = {"LATIN", "CYRILLIC", "GREEK"}  # scripts whose letters look alike


def check_name(name: object, what: str) -> None:
    """Raise ValueError unless `name` may stand for a person; `what` says whose it is, e.g. "author".

    Who reads it must see all of it: nothing invisible, and no letters of several scripts that look alike.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"found {what} {name!r:.80}; expected a name")
    if len(name) > LONGEST:
        raise ValueError(f"found {what} {name!r:.80}...; expected a name of at most {LONGEST} characters")
    unseen = next(filter(_is_unseen, name), None)
    if unseen is not None:
        raise ValueError(
            f"found {what} {name!a} with the invisible character U+{ord(unseen):04X}; expected what everybody "
            "can see: type the name anew"
        )
    if len(scripts := sorted(map(str.title, _scripts(unicodedata.normalize("NFKC", name))))) > 1:
        raise ValueError(
            f"found {what} {name!r} with letters of {' and '.join(scripts)}; expected one script: type the name anew"
        )


def same_person(one: str, other: str) -> bool:
    """True if two names differ by nothing but capitals, width of letters, spaces, punctuation and what is not seen."""
    return _key(one) == _key(other)


def _key(name: str) -> str:
    """What a name is compared by: its letters, their marks and its digits."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(sign for sign in folded if unicodedata.category(sign)[0] in "LMN" and not _is_unseen(sign))


def _is_unseen(sign: str) -> bool:
    return unicodedata.category(sign) in _UNSEEN or any(ord(sign) in signs for signs in _IGNORABLE)


def _scripts(name: str) -> set[str]:
    """The scripts that look alike of which this name has letters."""
    return {unicodedata.name(sign, "").split(" ")[0] for sign in name} & _LOOKALIKE
