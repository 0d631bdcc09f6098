"""Where and how a register lies in the words of a Modbus meter, as its profile says it; what cannot be is told."""

from collections.abc import Iterator, Mapping

from gateway.domain.instruments import RegisterKind
from gateway.encoding import ONE, SUM, TYPES, Encoding
from gateway.errors import Problem
from gateway.meter_model import ProfileRegister
from gateway.profile_form import ModbusForm, PartForm, RegisterForm
from gateway.toml_form import closest, shown
from gateway.toml_lines import Place, TomlLines

_WORD_TYPES = TYPES[:-1]  # all but "number", which stands in a message
_PART_TYPES = tuple(kind for kind in _WORD_TYPES if kind not in {"bit", "i32+float32"})
_OF_ONE_NUMBER = ("at", "as", "word_order", "byte_order", "absent", "bit")  # keys that a register of parts has not


def words_problems(quantity: str, form: RegisterForm, modbus: ModbusForm, lines: TomlLines) -> Iterator[Problem]:
    """Mistakes of one register that is read over Modbus."""
    place: Place = ("registers", quantity)
    if form.field is not None:
        yield lines.problem((*place, "field"), "'field'", "no such key for a register that is read over Modbus")
    unfit = [*(_parts_problems(form, place, lines) if form.parts else _number_problems(form, place, lines))]
    yield from unfit
    if unfit:
        return
    try:
        found = encoding_of(form, modbus)
    except ValueError as error:
        key, _, said = str(error).partition(": ")
        expected = "patterns that fit into its words" if key == "absent" else f"a {key} that fits the register"
        yield lines.problem((*place, key), said, expected)
        return
    yield from _room_problems(quantity, form, modbus, found, lines)
    if form.reread and (form.kind is not RegisterKind.CUMULATIVE or found.tear is None):
        expected = "only a total of several words or parts that are whole numbers"
        yield lines.problem((*place, "reread"), "true", expected)
    full = found.full_scale
    if full is not None and form.modulus and form.resolution and form.modulus * form.resolution > full:
        yield lines.problem(
            (*place, "modulus"),
            f"{form.modulus} counts = {form.modulus * form.resolution} {form.unit}",
            f"at most {full / form.resolution:f} counts, which is all that {form.type or 'its parts'} can show",
        )


def _number_problems(form: RegisterForm, place: Place, lines: TomlLines) -> Iterator[Problem]:
    if form.at is None:
        yield lines.problem((*place, "at"), "nothing", "the address of the first word", "Add the key 'at'.")
    yield from _type_problems(form.type, _WORD_TYPES, place, lines)
    if (form.type == "bit") != (form.bit is not None):
        found, expected = ("nothing", "which bit, 0 to 15") if form.bit is None else ("'bit'", 'only with as = "bit"')
        yield lines.problem((*place, "bit"), found, expected)
    if form.type == "bit" and form.resolution is not None:
        yield lines.problem((*place, "as"), '"bit"', "a type that can count, for a total or an amount")


def _parts_problems(form: RegisterForm, place: Place, lines: TomlLines) -> Iterator[Problem]:
    given = {key: getattr(form, "type" if key == "as" else key) for key in _OF_ONE_NUMBER}
    for key, value in given.items():
        if value is not None and value != []:
            yield lines.problem((*place, key), f"{key!r}", "no such key beside 'parts'", "Write it into the parts.")
    for index, part in enumerate(form.parts):
        yield from _type_problems(part.type, _PART_TYPES, (*place, "parts", index), lines)


def _type_problems(kind: str | None, known: tuple[str, ...], place: Place, lines: TomlLines) -> Iterator[Problem]:
    expected = f"one of {', '.join(known)}"
    if kind is None:
        yield lines.problem((*place, "as"), "nothing", expected, "Add the key 'as'.")
    elif kind not in known:
        yield lines.problem((*place, "as"), shown(kind), expected, closest(kind, known))


def _room_problems(
    quantity: str, form: RegisterForm, modbus: ModbusForm, found: Encoding, lines: TomlLines
) -> Iterator[Problem]:
    """Words past the end of the table, refused by the meter, or too far apart for one request."""
    place: Place = ("registers", quantity)
    addresses = addresses_of(form)
    for at, words in zip(addresses, found.lengths, strict=True):
        if at + words > 0x10000:
            yield lines.problem((*place, "at"), str(at), f"room for {words} words below 65536")
    ends = [at + words for at, words in zip(addresses, found.lengths, strict=True)]
    reach = range(min(addresses), max(ends))
    if len(reach) > modbus.max_words:
        yield lines.problem(
            place,
            f"words {reach.start} to {reach.stop - 1}, which is {len(reach)} words",
            f"at most {modbus.max_words}: parts and scale factor of a value are read in one request",
        )
    for refused in forbidden_of(modbus) or ():
        if reach.start < refused.stop and refused.start < reach.stop:
            yield lines.problem(
                place,
                f"words {reach.start} to {reach.stop - 1}",
                f"words outside of {refused.start} to {refused.stop - 1}, which are forbidden",
                "A value is read in one request from its first word to its last; part the register or the range.",
            )


def encoding_of(form: RegisterForm, modbus: ModbusForm) -> Encoding:
    """How the register's words are to be read. Raises ValueError, beginning with the name of the wrong key."""
    scale = form.scale if form.scale is not None else ONE
    exponent = form.scale_factor is not None
    if form.parts:
        parts = tuple(_part(part, modbus) for part in form.parts)
        return Encoding(type=SUM, parts=parts, scale=scale, exponent=exponent)
    return Encoding(
        type=form.type or "",
        word_order=_word_order(form.word_order, form.type or "", modbus),
        byte_order=form.byte_order or modbus.byte_order,
        scale=scale,
        absent=tuple(form.absent),
        bit=form.bit or 0,
        exponent=exponent,
    )


def _part(part: PartForm, modbus: ModbusForm) -> Encoding:
    return Encoding(
        type=part.type,
        word_order=_word_order(part.word_order, part.type, modbus),
        byte_order=part.byte_order or modbus.byte_order,
        scale=part.weight,
        absent=tuple(part.absent),
    )


def _word_order(own: str | None, kind: str, modbus: ModbusForm) -> str:
    """Its own; else the meter's, which does not concern a register of one word."""
    return own or ("big" if Encoding(type=kind).words == 1 else modbus.word_order)


def addresses_of(form: RegisterForm) -> tuple[int, ...]:
    """The first word of each piece: value or parts, then the scale factor."""
    values = tuple(part.at for part in form.parts) or (form.at or 0,)
    return values if form.scale_factor is None else (*values, form.scale_factor)


def forbidden_of(modbus: ModbusForm) -> tuple[range, ...] | None:
    """The addresses that the meter refuses; None where the profile does not say."""
    if modbus.forbidden is None:
        return None
    return tuple(range(first, last + 1) for first, last in modbus.forbidden)


def overlaps(registers: Mapping[str, ProfileRegister], lines: TomlLines) -> Iterator[Problem]:
    """Two registers that claim the same word (or the same bit of it), or the same key of a message."""
    owners: dict[tuple[str, int | str], dict[int, str]] = {}
    for quantity, found in registers.items():
        bit = found.encoding.bit if found.encoding.type == "bit" else -1
        for where in _claims(found):
            there = owners.setdefault(where, {})
            other = there.get(bit) or (next(iter(there.values()), None) if bit < 0 else there.get(-1))
            there.setdefault(bit, quantity)
            if other:
                what = f"word {where[1]}" if where[0] else f"field {where[1]!r}"
                expected = "a place of its own"
                yield lines.problem(("registers", quantity), f"{what}, which belongs to {other!r}", expected)
                break


def _claims(found: ProfileRegister) -> list[tuple[str, int | str]]:
    """Its words, or its field. A scale factor may serve several registers: it is claimed by none."""
    if found.data is not None:
        return []
    if found.field:
        return [("", found.field)]
    values = found.pieces[:-1] if found.encoding.exponent else found.pieces
    return [(found.table, word) for piece in values for word in piece]
