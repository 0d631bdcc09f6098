"""From a profile's file to a meter model: nothing guessed, nothing contradictory, every example proven."""

from collections.abc import Iterator
from pathlib import Path

from gateway.decoding import IN_MESSAGE, ONE, TYPES, Encoding
from gateway.domain.carriers import EnergyCarrier
from gateway.domain.instruments import AccuracyClass, RecordClass, Register, RegisterKind
from gateway.domain.quantities import QUANTITIES
from gateway.domain.units import UNITS
from gateway.errors import ConfigError, Problem
from gateway.meter_model import MESSAGE, MODBUS, Profile, ProfileRegister
from gateway.profile_examples import prove
from gateway.profile_form import ModbusForm, ProfileForm, RegisterForm
from gateway.toml_form import closest, fill, read_toml, shown
from gateway.toml_lines import TomlLines

_WORDS_ONLY = ("at", "type", "scale", "word_order", "byte_order")
_ALLOWED = {  # what a kind must declare, what it may declare, of the keys that depend on the kind
    RegisterKind.CUMULATIVE: ({"resolution", "modulus"}, {"max_rate"}),
    RegisterKind.INTERVAL: ({"resolution", "interval_s"}, set[str]()),
    RegisterKind.INSTANTANEOUS: (set[str](), {"limit"}),
}
_BY_KIND = ("resolution", "modulus", "interval_s", "max_rate", "limit")


def read_profile(path: Path, name: str) -> Profile:
    """The meter model in `path`, called `name` ("<carrier>/<maker>_<model>").

    Raises ConfigError with every mistake; a profile with one mistake is no profile.
    """
    document, lines = read_toml(path)
    form, problems = fill(ProfileForm, document, at=(), lines=lines)
    if form is None:
        raise ConfigError(problems)
    problems += _whole(form, name, lines)
    registers = {}
    for quantity, register in form.registers.items():
        wrong = [*_register_problems(quantity, register, form.modbus, lines)]
        problems += wrong
        if not wrong:
            registers[quantity] = _register(quantity, register, form.modbus)
    problems += _overlaps(registers, lines)
    examples, unproven = prove(form.examples, registers, lines)
    problems += unproven if len(registers) == len(form.registers) else []
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: problem.line or 0))
    return Profile(
        name=name,
        carrier=form.carrier,
        maker=form.maker,
        model=form.model,
        source=form.source,
        side=form.side or "none",
        wire=MODBUS if form.modbus else MESSAGE,
        accuracy={quantity: AccuracyClass(sign) for quantity, sign in form.accuracy.items()},
        presupposes=tuple(form.presupposes),
        registers=registers,
        examples=examples,
    )


def _whole(form: ProfileForm, name: str, lines: TomlLines) -> Iterator[Problem]:
    """Mistakes that concern the profile as a whole."""
    folder = name.split("/", maxsplit=1)[0]
    if form.carrier != folder:
        yield lines.problem(("carrier",), shown(str(form.carrier)), f"{folder!r}, as the folder is called")
    if (form.modbus is None) == (form.wire is None):
        yield lines.problem(
            ("modbus",),
            "neither 'modbus' nor 'wire'" if form.wire is None else "both 'modbus' and 'wire'",
            "one of them",
            'Write modbus = { table = "holding" } for a meter on Modbus, wire = "message" for named numbers.',
        )
    if form.carrier is EnergyCarrier.ELECTRICITY and form.side is None:
        yield lines.problem(
            ("side",), "nothing", "primary, secondary or none", "Say which side of the CT and PT the meter shows."
        )
    if form.carrier is not EnergyCarrier.ELECTRICITY and form.side == "secondary":
        yield lines.problem(("side",), shown(form.side), "no side, for a meter without instrument transformers")
    for quantity in form.accuracy:
        if quantity not in form.registers:
            yield lines.problem(
                ("accuracy", quantity),
                f"class of {quantity!r}",
                "a quantity of this profile's registers",
                closest(quantity, form.registers),
            )
    if not form.examples:
        yield lines.problem(
            ("example",),
            "no example",
            "at least one [[example]]",
            'Give words (or a message), what they show, origin = "captured", "manual" or "worked", and from.',
        )


def _register_problems(
    quantity: str, form: RegisterForm, modbus: ModbusForm | None, lines: TomlLines
) -> Iterator[Problem]:
    """Mistakes of one register."""
    place = ("registers", quantity)
    known = QUANTITIES.get(quantity)
    if known is None:
        yield lines.problem(place, f"the unknown quantity {quantity!r}", "a known one", closest(quantity, QUANTITIES))
    unit = UNITS.get(form.unit)
    if unit is None:
        yield lines.problem((*place, "unit"), shown(form.unit), "a known unit", closest(form.unit, UNITS))
    elif known is not None and unit.dimension != known.dimension:
        fitting = ", ".join(symbol for symbol, other in UNITS.items() if other.dimension == known.dimension)
        yield lines.problem(
            (*place, "unit"), f"{shown(form.unit)}, a unit of {unit.dimension}", f"one of {known.dimension}: {fitting}"
        )
    must, may = _ALLOWED[form.kind]
    for key in _BY_KIND:
        given = getattr(form, key) is not None
        if key in must and not given:
            yield lines.problem(
                (*place, key), "nothing", RegisterForm.model_fields[key].description or "a value", _why(form.kind, key)
            )
        if given and key not in must | may:
            yield lines.problem((*place, key), f"{key!r}", f"no such key for a register of kind {form.kind.value}")
    yield from (_message_problems if modbus is None else _words_problems)(quantity, form, modbus, lines)


def _why(kind: RegisterKind, key: str) -> str:
    if key == "modulus":
        return "Without it a rollover cannot be told from a reset; a total whose modulus is unknown is not read."
    return f"A register of kind {kind.value} must declare it."


def _message_problems(
    quantity: str, form: RegisterForm, _modbus: ModbusForm | None, lines: TomlLines
) -> Iterator[Problem]:
    for key in _WORDS_ONLY:
        if getattr(form, key) is not None:
            name = "as" if key == "type" else key
            yield lines.problem(("registers", quantity, name), f"{name!r}", "no such key for a value from a message")


def _words_problems(
    quantity: str, form: RegisterForm, modbus: ModbusForm | None, lines: TomlLines
) -> Iterator[Problem]:
    place = ("registers", quantity)
    if form.field is not None:
        yield lines.problem((*place, "field"), "'field'", "no such key for a register that is read over Modbus")
    if form.at is None:
        yield lines.problem((*place, "at"), "nothing", "the address of the first word", "Add the key 'at'.")
    if form.type is None:
        yield lines.problem((*place, "as"), "nothing", f"one of {', '.join(TYPES[:-1])}", "Add the key 'as'.")
        return
    if form.type not in TYPES[:-1]:
        known = f"one of {', '.join(TYPES[:-1])}"
        yield lines.problem((*place, "as"), shown(form.type), known, closest(form.type, TYPES[:-1]))
        return
    try:
        encoding = _encoding(form, modbus)
    except ValueError as error:
        yield lines.problem((*place, "absent"), str(error), f"patterns that fit into {form.type}")
        return
    if form.at is not None and form.at + encoding.words > 0x10000:
        yield lines.problem((*place, "at"), shown(form.at), f"room for {encoding.words} words below 65536")
    full = encoding.full_scale
    if full is not None and form.modulus and form.resolution and form.modulus * form.resolution > full:
        yield lines.problem(
            (*place, "modulus"),
            f"{form.modulus} counts = {form.modulus * form.resolution} {form.unit}",
            f"at most {full / form.resolution:f} counts, which is all that {form.type} can show",
        )


def _register(quantity: str, form: RegisterForm, modbus: ModbusForm | None) -> ProfileRegister:
    """The register that a faultless form describes."""
    encoding = IN_MESSAGE if modbus is None else _encoding(form, modbus)
    momentary = form.kind is RegisterKind.INSTANTANEOUS
    register = Register(
        quantity=quantity,
        unit=form.unit,
        kind=form.kind,
        resolution=form.resolution,
        modulus=form.modulus,
        limit=form.limit,
        max_rate=form.max_rate,
        interval_s=form.interval_s,
        record=form.record or (RecordClass.TELEMETRY if momentary else RecordClass.EVIDENCE),
        carriage=encoding.carriage,
    )
    if modbus is None:
        return ProfileRegister(register=register, field=form.field or quantity)
    return ProfileRegister(register=register, table=modbus.table, address=form.at or 0, encoding=encoding)


def _encoding(form: RegisterForm, modbus: ModbusForm | None) -> Encoding:
    default = modbus or ModbusForm(table="holding")
    return Encoding(
        type=form.type or "",
        word_order=form.word_order or default.word_order,
        byte_order=form.byte_order or default.byte_order,
        scale=form.scale if form.scale is not None else ONE,
        absent=tuple(form.absent),
    )


def _overlaps(registers: dict[str, ProfileRegister], lines: TomlLines) -> Iterator[Problem]:
    """Two registers that claim the same word, or the same key of a message."""
    owners: dict[tuple[str, int | str], str] = {}
    for quantity, found in registers.items():
        words = range(found.address, found.address + found.encoding.words)
        for where in (("", found.field),) if found.field else tuple((found.table, word) for word in words):
            other = owners.setdefault(where, quantity)
            if other != quantity:
                what = f"word {where[1]}" if where[0] else f"field {where[1]!r}"
                yield lines.problem(
                    ("registers", quantity), f"{what}, which belongs to {other!r}", "a place of its own"
                )
                break
