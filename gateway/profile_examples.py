"""The examples of a profile, decoded and compared with what they say the meter shows."""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from gateway.decoding import COUNTED, Doubt, decode_number, decode_words
from gateway.domain.instruments import Carriage, Register
from gateway.errors import Problem
from gateway.meter_data import DataPlace, data_decoder
from gateway.meter_model import Example, ProfileRegister
from gateway.profile_data import identified_data
from gateway.profile_form import ExampleForm
from gateway.toml_form import closest, shown
from gateway.toml_lines import Place, TomlLines


def prove(
    forms: Sequence[ExampleForm], registers: Mapping[str, ProfileRegister], lines: TomlLines
) -> tuple[tuple[Example, ...], list[Problem]]:
    """(the examples, what in them does not hold): counts must be equal, floats within one unit in the last place."""
    examples: list[Example] = []
    problems: list[Problem] = []
    for index, form in enumerate(forms):
        place: Place = ("example", index)
        words, wrong = _words(form, place, lines)
        data, wrong_data = identified_data(form.data, (*place, "data"), lines)
        wrong += wrong_data
        problems += wrong
        example = Example(
            origin=form.origin,
            came_from=form.came_from,
            words=words,
            message=form.message,
            data=data,
            shows={name: None if isinstance(value, str) else value for name, value in form.shows.items()},
        )
        examples.append(example)
        if not wrong:
            problems += _contradictions(example, registers, place, lines)
    return tuple(examples), problems


def _words(form: ExampleForm, place: Place, lines: TomlLines) -> tuple[dict[int, bytes], list[Problem]]:
    """Runs of words by address; the text is hexadecimal, four digits a word."""
    runs: dict[int, bytes] = {}
    problems: list[Problem] = []
    for address, text in form.words.items():
        try:
            first, words = int(address, 0), bytes.fromhex(text)
        except ValueError:
            first, words = -1, b""
        if not 0 <= first <= 0xFFFF or not words or len(words) % 2:
            expected = 'an address and whole words, e.g. 0x0048 = "42F7 0000"'
            problems.append(lines.problem((*place, "words", address), shown(text), expected))
        else:
            runs[first] = words
    return runs, problems


def _contradictions(
    example: Example, registers: Mapping[str, ProfileRegister], place: Place, lines: TomlLines
) -> Iterator[Problem]:
    for quantity, value in example.shows.items():
        here = (*place, "shows", quantity)
        found = registers.get(quantity)
        if found is None:
            known = "a quantity of this profile's registers"
            yield lines.problem(here, f"the quantity {quantity!r}", known, closest(quantity, registers))
            continue
        try:
            decoded = _decoded(example, found)
        except LookupError as error:
            yield lines.problem(here, f"no {error.args[0]} in the example", f"the input of {quantity!r}")
            continue
        except ValueError as error:
            yield lines.problem(here, str(error), "a number that can be read")
            continue
        if not _agrees(decoded, value, found):
            yield lines.problem(
                here,
                f"{_told(value)} {found.register.unit}",
                f"{_told(_in_unit(decoded, found))} {found.register.unit}, which is what the example decodes to",
                "Mend the example, or the address, type, order or scale of the register.",
            )


def _decoded(example: Example, found: ProfileRegister) -> int | float | None:
    """What the register reads from the example. Raises LookupError when it is not in it."""
    if found.field:
        if found.field not in example.message:
            raise LookupError(f"field {found.field!r}")
        return decode_number(found.register, example.message[found.field])
    if found.data:
        return _decoded_data(example, found.data, found.register)
    words = b"".join(_cut(example, piece) for piece in found.pieces)
    return decode_words(found.encoding, found.register, words)


def _decoded_data(example: Example, place: DataPlace, register: Register) -> int | float | None:
    """The same for bytes of a data identifier."""
    data = example.data.get(place.identifier, b"")
    if len(data) < place.cut.stop:
        raise LookupError(f"bytes {place.cut.start} to {place.cut.stop - 1} of identifier {place.identifier:#010x}")
    found = data_decoder(place.encoding, register)(data[place.cut])
    return found.value if isinstance(found, Doubt) else found


def _cut(example: Example, piece: range) -> bytes:
    """The words of one piece. Raises LookupError when they are not in the example."""
    for first, words in example.words.items():
        start = 2 * (piece.start - first)
        if 0 <= start <= len(words) - 2 * len(piece):
            return words[start : start + 2 * len(piece)]
    raise LookupError(f"words {piece.start} to {piece.stop - 1}")


def _agrees(decoded: float | None, value: Decimal | None, found: ProfileRegister) -> bool:
    if decoded is None or value is None:
        return decoded is None and value is None
    if found.register.kind in COUNTED:
        return Decimal(decoded) * (found.register.resolution or 1) == value
    ulp = math.ulp(decoded)
    if found.register.carriage is Carriage.FLOAT32:
        # One unit in the last place of the wire's float, times what a raw unit is worth.
        raw = abs(decoded) / float(found.encoding.scale)
        ulp = max(ulp, _ulp32(raw) * float(found.encoding.scale))
    return abs(Decimal(decoded) - value) <= Decimal(ulp)


def _ulp32(value: float) -> float:
    bits: int = struct.unpack(">I", struct.pack(">f", value))[0]
    above: float = struct.unpack(">f", struct.pack(">I", bits + 1))[0]
    return above - value if math.isfinite(above) else 0.0


def _in_unit(decoded: float | None, found: ProfileRegister) -> Decimal | None:
    if decoded is None:
        return None
    if found.register.kind in COUNTED:
        return Decimal(decoded) * (found.register.resolution or 1)
    return Decimal(repr(decoded))


def _told(value: Decimal | None) -> str:
    return "absent" if value is None else f"{value:f}"
