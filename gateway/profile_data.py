"""Where and how a register lies in the data of DL/T 645 or CJ/T 188, as its profile says it; what cannot be is told."""

from collections.abc import Iterator, Mapping

from gateway.encoding import ONE
from gateway.errors import Problem
from gateway.meter_data import CJT188, DLT645, TYPES, DataEncoding, DataManner, DataPlace
from gateway.meter_model import MESSAGE, MODBUS, ProfileRegister
from gateway.profile_form import ProfileForm, RegisterForm
from gateway.toml_form import closest, shown
from gateway.toml_lines import Place, TomlLines

MOST_DATA = 250  # bytes in one answer, the identifier and the number of the answer beside them
_NOT_HERE = ("table", "scale_factor", "word_order", "byte_order", "field")
_WIDEST = {DLT645: 0xFFFFFFFF, CJT188: 0xFFFF}  # identifier


def wire_of(form: ProfileForm) -> str:
    """By which protocol the meter is read."""
    if form.modbus is not None:
        return MODBUS
    if form.cjt188 is not None:
        return CJT188
    return DLT645 if form.wire == DLT645 else MESSAGE


def data_problems(quantity: str, form: RegisterForm, lines: TomlLines, *, wire: str) -> Iterator[Problem]:
    """Mistakes of one register that is read by data identifier."""
    place: Place = ("registers", quantity)
    given = {key: getattr(form, key) is not None for key in _NOT_HERE}
    given |= {"parts": bool(form.parts), "absent": bool(form.absent)}
    for key, is_given in given.items():
        if is_given:
            yield lines.problem((*place, key), f"{key!r}", "no such key for a register that is read by data identifier")
    if form.identifier is None:
        yield lines.problem((*place, "identifier"), "nothing", "a data identifier, e.g. 0x00010000", "Add the key.")
    elif form.identifier > _WIDEST[wire]:
        here = (*place, "identifier")
        yield lines.problem(here, f"{form.identifier:#x}", f"at most {_WIDEST[wire]:#x}, the widest of {wire}")
    if form.type is None:
        yield lines.problem((*place, "as"), "nothing", f"one of {', '.join(TYPES)}", "Add the key 'as'.")
        return
    if form.type not in TYPES:
        yield lines.problem((*place, "as"), shown(form.type), f"one of {', '.join(TYPES)}", closest(form.type, TYPES))
        return
    yield from _value_problems(form, place, lines, wire=wire)


def _value_problems(form: RegisterForm, place: Place, lines: TomlLines, *, wire: str) -> Iterator[Problem]:
    """Mistakes of a register whose type is known."""
    is_bits = str(form.type).startswith("bit")
    if is_bits != (form.bit is not None) or (is_bits and (form.bit or 0) > 7):
        found = "nothing" if form.bit is None else str(form.bit)
        yield lines.problem(
            (*place, "bit"), found, "which bit, 0 to 7" if is_bits else 'only with as = "bit" or "bit2"'
        )
    if is_bits and form.resolution is not None:
        yield lines.problem((*place, "as"), shown(form.type), "a type that can count, for a total or an amount")
    if form.unit_at is not None and wire != CJT188:
        yield lines.problem((*place, "unit_at"), "'unit_at'", "no such key: only CJ/T 188 names units on the wire")
    end = (form.at or 0) + TYPES[str(form.type)]
    if end > MOST_DATA:
        yield lines.problem((*place, "at"), str(form.at), f"room for {form.type} within {MOST_DATA} bytes")
    full = 10 ** (2 * TYPES[str(form.type)]) * (form.scale or ONE)
    if form.modulus and form.resolution and not is_bits and form.modulus * form.resolution > full:
        most = full / form.resolution
        told = f"{form.modulus} counts = {form.modulus * form.resolution} {form.unit}"
        yield lines.problem(
            (*place, "modulus"), told, f"at most {most:f} counts, which is all that {form.type} can show"
        )


def place_of(form: RegisterForm) -> DataPlace:
    """Where the register is found, of a form without mistakes."""
    first, kind = form.at or 0, form.type or ""
    begin = first if form.unit_at is None else min(first, form.unit_at)
    end = max(first + TYPES[kind], 0 if form.unit_at is None else form.unit_at + 1)
    encoding = DataEncoding(
        type=kind,
        at=first - begin,
        unit_at=None if form.unit_at is None else form.unit_at - begin,
        scale=form.scale if form.scale is not None else ONE,
        bit=form.bit or 0,
    )
    return DataPlace(identifier=form.identifier or 0, cut=slice(begin, end), encoding=encoding)


def manner_of(form: ProfileForm) -> DataManner:
    """How the meter speaks beside its values."""
    if form.cjt188 is None:
        return DataManner()
    lengths = {int(identifier, 0): count for identifier, count in form.cjt188.lengths.items()}
    return DataManner(meter_type=form.cjt188.meter_type, identifier_order=form.cjt188.identifier_order, lengths=lengths)


def whole_problems(form: ProfileForm, lines: TomlLines) -> Iterator[Problem]:
    """Lengths of data that belong to no register, or leave no room for one."""
    if form.cjt188 is None:
        return
    ends: dict[int, int] = {}
    for register in form.registers.values():
        if register.identifier is not None and register.type in TYPES:
            end = place_of(register).cut.stop
            ends[register.identifier] = max(end, ends.get(register.identifier, 0))
    for text, count in form.cjt188.lengths.items():
        here = ("cjt188", "lengths", text)
        identifier = _identifier(text)
        if identifier not in ends:
            yield lines.problem(here, shown(text), "an identifier of the registers, e.g. 0x901F")
        elif count < ends[identifier]:
            yield lines.problem(here, str(count), f"at least {ends[identifier]} bytes, which the registers take")


def _identifier(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return -1


def data_overlaps(registers: Mapping[str, ProfileRegister], lines: TomlLines) -> Iterator[Problem]:
    """Two registers that claim the same bytes (or the same bits of one)."""
    owners: dict[tuple[int, int], str] = {}
    for quantity, found in registers.items():
        for claim in _claims(found):
            other = owners.setdefault(claim, quantity)
            if other != quantity:
                told = f"byte {claim[1] // 8} of identifier {claim[0]:#x}, which belongs to {other!r}"
                yield lines.problem(("registers", quantity), told, "bytes of its own")
                break


def _claims(found: ProfileRegister) -> list[tuple[int, int]]:
    """Its bits, by identifier. The unit byte may serve several registers: it is claimed by none."""
    if found.data is None:
        return []
    encoding = found.data.encoding
    first = 8 * (found.data.cut.start + encoding.at)
    bits = range(8 * TYPES[encoding.type])
    if encoding.type.startswith("bit"):
        bits = range(encoding.bit, encoding.bit + (2 if encoding.type == "bit2" else 1))
    return [(found.data.identifier, first + bit) for bit in bits]


def identified_data(texts: Mapping[str, str], place: Place, lines: TomlLines) -> tuple[dict[int, bytes], list[Problem]]:
    """(bytes by data identifier, what in them is no such thing); the texts are hexadecimal, two digits a byte."""
    found: dict[int, bytes] = {}
    problems: list[Problem] = []
    for name, text in texts.items():
        identifier = _identifier(name)
        try:
            data = bytes.fromhex(text)
        except ValueError:
            data = b""
        if identifier < 0 or not data:
            expected = 'an identifier and bytes, e.g. 0x00010000 = "26 00 00 00"'
            problems.append(lines.problem((*place, name), shown(text), expected))
        else:
            found[identifier] = data
    return found, problems
