"""Where a profile says how its model is known, and which transformer ratios are set in it; what cannot be is told."""

from collections.abc import Iterator
from decimal import Decimal

from gateway.device_facts import OBJECTS, Fact, Identity, Mark, Ratios
from gateway.encoding import TYPES, Encoding
from gateway.errors import Problem
from gateway.profile_form import FactForm, IdentityForm, MarkForm, ModbusForm, ProfileForm
from gateway.toml_form import closest, shown
from gateway.toml_lines import Place, TomlLines

TEXT = "text"
_FACT_TYPES = (*(kind for kind in TYPES if kind not in {"bit", "i32+float32", "number"}), TEXT)


def facts_problems(form: ProfileForm, lines: TomlLines) -> Iterator[Problem]:
    """Mistakes in `identity` and `ratio`."""
    for key in ("identity", "ratio"):
        if getattr(form, key) is not None and form.modbus is None:
            yield lines.problem((key,), f"{key!r}", "no such table for a meter that sends messages")
    if form.modbus is None:
        return
    if form.ratio is not None:
        if form.ratio.ct is None and form.ratio.pt is None:
            yield lines.problem(("ratio",), "nothing", "ct, pt or both")
        for key, fact in (("ct", form.ratio.ct), ("pt", form.ratio.pt)):
            if fact is not None:
                yield from _fact_problems(fact, form.modbus, ("ratio", key), lines)
                if fact.type == TEXT:
                    yield lines.problem(("ratio", key, "as"), shown(TEXT), "a type of number")
    if form.identity is not None:
        yield from _identity_problems(form.identity, form.modbus, lines)


def _identity_problems(form: IdentityForm, modbus: ModbusForm, lines: TomlLines) -> Iterator[Problem]:
    if not form.marks and not form.objects and form.serial is None:
        yield lines.problem(("identity",), "nothing", "marks, objects or serial")
    for name in form.objects:
        if name not in OBJECTS:
            expected = f"one of {', '.join(OBJECTS)}"
            yield lines.problem(("identity", "objects", name), shown(name), expected, closest(name, OBJECTS))
    if form.serial is not None:
        yield from _fact_problems(form.serial, modbus, ("identity", "serial"), lines)
    for index, mark in enumerate(form.marks):
        place: Place = ("identity", "marks", index)
        yield from _fact_problems(mark, modbus, place, lines)
        if bool(mark.equals) == (mark.between is not None):
            found = "both" if mark.equals else "neither"
            yield lines.problem(place, f"{found} of 'equals' and 'between'", "one of them")
        elif mark.between is not None and (mark.type == TEXT or mark.between[0] > mark.between[1]):
            said = "a text has no range" if mark.type == TEXT else "the lesser before the greater"
            yield lines.problem((*place, "between"), "[" + ", ".join(map(str, mark.between)) + "]", said)
        for value in mark.equals:
            if isinstance(value, str) != (mark.type == TEXT):
                expected = "text in quotes" if mark.type == TEXT else "a whole number"
                yield lines.problem((*place, "equals"), shown(value), expected)


def _fact_problems(form: FactForm, modbus: ModbusForm, place: Place, lines: TomlLines) -> Iterator[Problem]:
    if form.type not in _FACT_TYPES:
        known = f"one of {', '.join(_FACT_TYPES)}"
        yield lines.problem((*place, "as"), shown(form.type), known, closest(form.type, _FACT_TYPES))
        return
    if (form.type == TEXT) != (form.words is not None):
        found, expected = ("'words'", 'only with as = "text"') if form.words else ("nothing", "how many words it has")
        yield lines.problem((*place, "words"), found, expected)
        return
    try:
        fact = _fact(form, modbus)
    except ValueError as error:
        key, _, said = str(error).partition(": ")
        yield lines.problem((*place, key), said, f"a {key} that fits")
        return
    if fact.at + fact.words > 0x10000:
        yield lines.problem((*place, "at"), str(fact.at), f"room for {fact.words} words below 65536")
    if fact.words > modbus.max_words:
        yield lines.problem((*place, "words"), str(fact.words), f"at most {modbus.max_words}")


def identity_of(form: ProfileForm) -> Identity | None:
    """The identity that a faultless form states."""
    stated, modbus = form.identity, form.modbus
    if stated is None or modbus is None:
        return None
    return Identity(
        marks=tuple(_mark(mark, modbus) for mark in stated.marks),
        objects={OBJECTS[name]: tuple(patterns) for name, patterns in stated.objects.items()},
        serial=None if stated.serial is None else _fact(stated.serial, modbus),
    )


def ratios_of(form: ProfileForm) -> Ratios:
    """The ratios that a faultless form says where to read."""
    stated, modbus = form.ratio, form.modbus
    if stated is None or modbus is None:
        return Ratios()
    return Ratios(
        ct=None if stated.ct is None else _fact(stated.ct, modbus),
        pt=None if stated.pt is None else _fact(stated.pt, modbus),
    )


def _mark(form: MarkForm, modbus: ModbusForm) -> Mark:
    least, most = form.between or (None, None)
    return Mark(
        what=form.what,
        fact=_fact(form, modbus),
        equals=tuple(value if isinstance(value, str) else format(Decimal(value), "f") for value in form.equals),
        least=least,
        most=most,
    )


def _fact(form: FactForm, modbus: ModbusForm) -> Fact:
    """Raises ValueError, beginning with the name of the wrong key."""
    table = form.table or modbus.table
    if form.type == TEXT:
        return Fact(table=table, at=form.at, words=form.words or 1)
    one_word = Encoding(type=form.type).words == 1
    encoding = Encoding(
        type=form.type,
        word_order=form.word_order or ("big" if one_word else modbus.word_order),
        byte_order=form.byte_order or modbus.byte_order,
        scale=form.scale,
    )
    return Fact(table=table, at=form.at, words=encoding.words, encoding=encoding)
