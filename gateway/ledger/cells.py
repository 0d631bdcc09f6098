"""Cells of an imported table as values: dates, periods, numbers, words. Text is data and never evaluated."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from gateway.domain.certificates import CertificateKind
from gateway.domain.instruments import STATE_ZH, InstrumentState
from gateway.domain.periods import Period, period
from gateway.domain.production import is_price_basis
from gateway.domain.units import UNITS
from gateway.errors import Problem

T = TypeVar("T")

_DAY = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?")
_PERIOD = re.compile(r"(\d{4})(?:年|[-/.年](\d{1,2})(?:月|[-/.月](\d{1,2})日?)?)?")
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,2})?")
_CONSTANT_PRICES = re.compile(r"(?:可比价|不变价)格?(\d{4})年?|(\d{4})年?(?:可比价|不变价)格?")

KINDS = {
    **{kind.value: kind for kind in CertificateKind},
    "检定": CertificateKind.VERIFICATION,
    "检定证书": CertificateKind.VERIFICATION,
    "校准": CertificateKind.CALIBRATION,
    "校准证书": CertificateKind.CALIBRATION,
}
STATES = {**{state.value: state for state in InstrumentState}, **{text: state for state, text in STATE_ZH.items()}}
CONFORMS = {
    **dict.fromkeys(("yes", "true", "pass", "是", "合格", "符合"), True),
    **dict.fromkeys(("no", "false", "fail", "否", "不合格", "不符合"), False),
}
UNIT_NAMES = {unit.name_zh: symbol for symbol, unit in UNITS.items()}


class WrongCell(ValueError):
    """A cell does not hold what its column asks for."""

    def __init__(self, expected: str, mend: str = "") -> None:
        super().__init__(expected)
        self.expected, self.mend = expected, mend


class Cells:
    """The cells of one row by column; what is wrong in them gathers in `problems`, so that all of it is told."""

    def __init__(self, file: Path, line: int, cells: Mapping[str, str], required: frozenset[str]) -> None:
        self.file = file
        self.line = line
        self.problems: list[Problem] = []
        self._cells = {column: text.strip() for column, text in cells.items()}
        self._required = required

    def __contains__(self, column: str) -> bool:
        """True if something stands in the column."""
        return bool(self._cells.get(column))

    def take(self, column: str, read: Callable[[str], T], blank: T) -> T:
        """The value of a column; `blank` where nothing stands in it or what stands there is refused."""
        text = self._cells.get(column, "")
        if not text:
            if column in self._required:
                self.refuse(column, "nothing", "a value in every row")
            return blank
        try:
            return read(text)
        except WrongCell as wrong:
            self.refuse(column, repr(text), wrong.expected, wrong.mend)
            return blank

    def refuse(self, column: str, found: str, expected: str, mend: str = "") -> None:
        """Note that a column is wrong."""
        self.problems.append(
            Problem(file=str(self.file), line=self.line, key=column, found=found, expected=expected, mend=mend)
        )


def text(cell: str) -> str:
    """Text as it stands, on one line. Raises WrongCell on control characters."""
    if not cell.isprintable():
        raise WrongCell("printable text on one line", "Remove the line break or control character.")
    return cell


def word(words: Mapping[str, T]) -> Callable[[str], T]:
    """A reader of one word out of a list."""

    def read(cell: str) -> T:
        try:
            return words[unicodedata.normalize("NFKC", cell).casefold()]
        except KeyError:
            raise WrongCell(" | ".join(words)) from None

    return read


def day(cell: str) -> date:
    """A date: 2026-10-31, 2026/10/31, 2026年10月31日. Raises WrongCell."""
    match = _DAY.fullmatch(unicodedata.normalize("NFKC", cell))
    try:
        if match is not None:
            return date(*map(int, match.groups()))
    except ValueError:
        pass
    mend = "Spreadsheets turn dates into numbers: format the column as text or yyyy-mm-dd." if cell.isdigit() else ""
    raise WrongCell("a date as 2026-10-31 or 2026/10/31", mend)


def period_in(timezone: str) -> Callable[[str], Period | None]:
    """A reader of periods: 2026, 2026-10, 2026/10, 2026年10月, 2026-10-31."""

    def read(cell: str) -> Period:
        match = _PERIOD.fullmatch(unicodedata.normalize("NFKC", cell))
        if match is not None:
            parts = [part for part in match.groups() if part is not None]
            try:
                return period("-".join([parts[0], *(part.zfill(2) for part in parts[1:])]), timezone)
            except ValueError:
                pass
        raise WrongCell("a period as 2026-10, 2026-10-31 or 2026", "Format the column as text.")

    return read


def number(cell: str) -> Decimal:
    """A decimal number, exactly as it stands. Raises WrongCell on thousands separators and anything else."""
    plain = unicodedata.normalize("NFKC", cell)
    if _NUMBER.fullmatch(plain) is None or not plain.isascii():
        raise WrongCell("a number as 1234.5", "Write it without unit, blank or thousands separator.")
    return Decimal(plain)


def unit(cell: str) -> str:
    """A unit's symbol; the Chinese names of known units are taken for their symbols."""
    return UNIT_NAMES.get(cell, text(cell))


def accuracy_class(cell: str) -> str:
    """The class sign as on the name plate: 0.5S, 1, 2.5. Raises WrongCell."""
    sign = unicodedata.normalize("NFKC", cell).removesuffix("级").strip()
    if not sign or len(sign) > 16 or not sign.isprintable():
        raise WrongCell("a class sign as on the name plate, e.g. 0.5S")
    return sign


def price_basis(cell: str) -> str:
    """A price basis: current, constant-2020, 现价, 2020年不变价. Raises WrongCell."""
    plain = unicodedata.normalize("NFKC", cell).casefold()
    if plain in {"现价", "现行价格", "当年价格", "当年价"}:
        return "current"
    if match := _CONSTANT_PRICES.fullmatch(plain):
        return f"constant-{match[1] or match[2]}"
    if not is_price_basis(plain):
        raise WrongCell("current (现价) or constant-YYYY (YYYY年不变价)")
    return plain
