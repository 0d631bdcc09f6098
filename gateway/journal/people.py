"""Names of people: what may stand for one, so that no two names look alike and are two people all the same."""

import unicodedata

LONGEST = 200  # characters
_UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}  # categories of characters that print nothing, or anything
_BLANK = set("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters and signs that print nothing
_LOOKALIKE = {"LATIN", "CYRILLIC", "GREEK"}  # scripts whose letters look alike


def check_name(name: object, what: str) -> None:
    """Raise ValueError unless `name` may stand for a person; `what` says whose it is, e.g. "author".

    Who reads it must see all of it: nothing invisible, and within a word no letters of scripts that look alike.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"found {what} {name!r:.80}; expected a name")
    if len(name) > LONGEST:
        raise ValueError(f"found {what} {name!r:.80}...; expected a name of at most {LONGEST} characters")
    unseen = next((sign for sign in name if unicodedata.category(sign) in _UNSEEN or sign in _BLANK), None)
    if unseen is not None:
        raise ValueError(
            f"found {what} {name!a} with the invisible character U+{ord(unseen):04X}; expected what everybody "
            "can see: type the name anew"
        )
    for word in unicodedata.normalize("NFKC", name).split():
        if len(scripts := sorted(map(str.title, _scripts(word)))) > 1:
            raise ValueError(
                f"found {what} {name!r} with letters of {' and '.join(scripts)} in one word; "
                "expected one script: type the name anew"
            )


def _scripts(word: str) -> set[str]:
    """The scripts that look alike of which this word has letters."""
    return {unicodedata.name(sign, "").split(" ")[0] for sign in word} & _LOOKALIKE
