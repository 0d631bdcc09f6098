"""From a profile's file to a meter model: nothing guessed, nothing contradictory, every example proven."""

from collections.abc import Iterator
from pathlib import Path

from gateway.domain.carriers import EnergyCarrier
from gateway.domain.instruments import AccuracyClass, RecordClass, Register, RegisterKind
from gateway.domain.quantities import QUANTITIES
from gateway.domain.units import UNITS
from gateway.encoding import IN_MESSAGE
from gateway.errors import ConfigError, Problem
from gateway.meter_model import MESSAGE, MODBUS, Profile, ProfileRegister
from gateway.profile_data import data_overlaps, data_problems, manner_of, place_of, whole_problems, wire_of
from gateway.profile_examples import prove
from gateway.profile_facts import facts_problems, identity_of, ratios_of
from gateway.profile_form import ProfileForm, RegisterForm
from gateway.profile_words import addresses_of, encoding_of, forbidden_of, overlaps, words_problems
from gateway.toml_form import closest, fill, read_toml, shown
from gateway.toml_lines import TomlLines

_WORDS_ONLY = ("at", "table", "type", "scale", "scale_factor", "bit", "word_order", "byte_order")
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
    problems += [*_whole(form, name, lines), *whole_problems(form, lines), *facts_problems(form, lines)]
    registers = {}
    for quantity, register in form.registers.items():
        wrong = [*_register_problems(quantity, register, form, lines)]
        problems += wrong
        if not wrong:
            registers[quantity] = _register(quantity, register, form)
    problems += [*overlaps(registers, lines), *data_overlaps(registers, lines)]
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
        wire=wire_of(form),
        accuracy={quantity: AccuracyClass(sign) for quantity, sign in form.accuracy.items()},
        presupposes=tuple(form.presupposes),
        registers=registers,
        examples=examples,
        max_words=form.modbus.max_words if form.modbus else 125,
        forbidden=forbidden_of(form.modbus) if form.modbus else None,
        by_hand=form.by_hand,
        relative=form.modbus is not None and form.modbus.relative,
        identity=identity_of(form),
        ratios=ratios_of(form),
        manner=manner_of(form),
    )


def _whole(form: ProfileForm, name: str, lines: TomlLines) -> Iterator[Problem]:
    """Mistakes that concern the profile as a whole."""
    folder = name.split("/", maxsplit=1)[0]
    if form.carrier != folder:
        yield lines.problem(("carrier",), shown(str(form.carrier)), f"{folder!r}, as the folder is called")
    given = [key for key in ("modbus", "cjt188", "wire") if getattr(form, key) is not None]
    if len(given) != 1:
        yield lines.problem(
            ("modbus",),
            " and ".join(map(repr, given)) or "neither 'modbus' nor 'wire' nor 'cjt188'",
            "one of them",
            'Write modbus = { table = "holding" } for a meter on Modbus, wire = "dlt645" or cjt188 = { meter_type = '
            '0x10 } for one that is asked by data identifier, wire = "message" for named numbers.',
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
    for index, (first, last) in enumerate((form.modbus.forbidden or []) if form.modbus else []):
        if first > last:
            place = ("modbus", "forbidden", index)
            yield lines.problem(place, f"[{first}, {last}]", "the first address before the last")
    if not form.examples:
        yield lines.problem(
            ("example",),
            "no example",
            "at least one [[example]]",
            'Give words (or a message), what they show, origin = "captured", "manual" or "worked", and from.',
        )


def _register_problems(quantity: str, form: RegisterForm, profile: ProfileForm, lines: TomlLines) -> Iterator[Problem]:
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
    yield from _place_problems(quantity, form, profile, lines)


def _place_problems(quantity: str, form: RegisterForm, profile: ProfileForm, lines: TomlLines) -> Iterator[Problem]:
    """Mistakes about where the register is found and how it is encoded."""
    wire = wire_of(profile)
    if wire not in {MODBUS, MESSAGE}:
        yield from data_problems(quantity, form, lines, wire=wire)
        return
    for key in ("identifier", "unit_at"):
        if getattr(form, key) is not None:
            here = ("registers", quantity, key)
            yield lines.problem(here, f"{key!r}", "no such key for a meter that is not asked by data identifier")
    if profile.modbus is None:
        yield from _message_problems(quantity, form, lines)
    else:
        yield from words_problems(quantity, form, profile.modbus, lines)


def _why(kind: RegisterKind, key: str) -> str:
    if key == "modulus":
        return "Without it a rollover cannot be told from a reset; a total whose modulus is unknown is not read."
    return f"A register of kind {kind.value} must declare it."


def _message_problems(quantity: str, form: RegisterForm, lines: TomlLines) -> Iterator[Problem]:
    given = {key: getattr(form, key) is not None for key in _WORDS_ONLY}
    given |= {"parts": bool(form.parts), "reread": form.reread}
    for key, is_given in given.items():
        if is_given:
            name = "as" if key == "type" else key
            yield lines.problem(("registers", quantity, name), f"{name!r}", "no such key for a value from a message")


def _register(quantity: str, form: RegisterForm, profile: ProfileForm) -> ProfileRegister:
    """The register that a faultless form describes."""
    modbus = profile.modbus
    encoding = IN_MESSAGE if modbus is None else encoding_of(form, modbus)
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
    if modbus is None and wire_of(profile) != MESSAGE:
        return ProfileRegister(register=register, data=place_of(form))
    if modbus is None:
        return ProfileRegister(register=register, field=form.field or quantity)
    table = form.table or modbus.table
    return ProfileRegister(
        register=register, table=table, addresses=addresses_of(form), encoding=encoding, reread=form.reread
    )
