"""Formulas of metering points: sums, differences, products and quotients, in exact fractions with their units.

A formula is read by this file and by nothing else: numbers, names of points, + - * / and parentheses. A name is as
long as it can be, and names may hold a minus: a minus between two points stands between spaces.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from gateway.domain.units import UNITS

MOST_CHARACTERS, MOST_DEPTH = 1000, 20
_TOKEN = re.compile(r"\s*(?:([A-Za-z0-9][A-Za-z0-9_.-]*)|([-+*/()]))")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")

Dimension = Mapping[str, int]  # exponents by the dimensions of units, e.g. {"energy": 1, "mass": -1}; {} for a number


@dataclass(frozen=True, slots=True)
class Number:
    """A constant without a unit."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Name:
    """The amount of a point. `column` is where it stands, from 1."""

    point: str
    column: int


@dataclass(frozen=True, slots=True)
class Term:
    """Two expressions and what is done with them: + - * or /."""

    operator: str
    left: "Expression"
    right: "Expression"
    column: int


Expression = Number | Name | Term


class FormulaError(ValueError):
    """What in a formula is not one; `column` is where, from 1, and `expected` what could stand there."""

    def __init__(self, column: int, found: str, expected: str) -> None:
        super().__init__(f"column {column}: found {found}; expected {expected}")
        self.column, self.found, self.expected = column, found, expected


class Undefined(ArithmeticError):
    """A quotient whose divisor is zero."""


def parse(text: str) -> Expression:
    """The expression that a formula states. Raises FormulaError."""
    if len(text) > MOST_CHARACTERS:
        raise FormulaError(MOST_CHARACTERS + 1, "more text", f"at most {MOST_CHARACTERS} characters")
    reader = _Reader(list(_tokens(text)), len(text) + 1)
    expression = reader.sum(0)
    if reader.next is not None:
        raise FormulaError(reader.column, repr(reader.next), "an operator or the end")
    return expression


def names(expression: Expression) -> tuple[Name, ...]:
    """The points of an expression, in the order in which they stand, also twice."""
    if isinstance(expression, Term):
        return names(expression.left) + names(expression.right)
    return (expression,) if isinstance(expression, Name) else ()


def dimension(expression: Expression, known: Mapping[str, Dimension]) -> Dimension:
    """The dimension of an expression, of those of its points. Raises FormulaError where unlike things are added."""
    if isinstance(expression, Number):
        return {}
    if isinstance(expression, Name):
        return known[expression.point]
    left, right = dimension(expression.left, known), dimension(expression.right, known)
    if expression.operator in "+-":
        if left != right:
            found = f"{told(left)} {expression.operator} {told(right)}"
            raise FormulaError(expression.column, found, "two amounts of one dimension")
        return left
    sign = 1 if expression.operator == "*" else -1
    return _product(left, right, sign)


def evaluate(expression: Expression, amounts: Mapping[str, Fraction]) -> Fraction:
    """The value of an expression, exactly. Raises Undefined where a divisor is zero."""
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Name):
        return amounts[expression.point]
    left, right = evaluate(expression.left, amounts), evaluate(expression.right, amounts)
    if expression.operator == "/" and not right:
        raise Undefined
    operations = {"+": left.__add__, "-": left.__sub__, "*": left.__mul__, "/": left.__truediv__}
    return Fraction(operations[expression.operator](right))


@dataclass(frozen=True, slots=True)
class QuotientUnit:
    """A unit, or one unit by another ("kWh/t"): `factor` times it gives the coherent unit of `dimension`."""

    symbol: str
    factor: Fraction
    dimension: Dimension


def quotient_unit(symbol: str) -> QuotientUnit | None:
    """The unit of this symbol; None where it is neither a unit without an offset nor a quotient of two."""
    if symbol in UNITS:
        one = UNITS[symbol]
        return None if one.offset else QuotientUnit(symbol, one.factor, _dimension_of(one.dimension))
    above, _, below = symbol.partition("/")
    top, bottom = UNITS.get(above), UNITS.get(below)
    if top is None or bottom is None or top.offset or bottom.offset:
        return None
    by = _product(_dimension_of(top.dimension), _dimension_of(bottom.dimension), -1)
    return QuotientUnit(symbol, top.factor / bottom.factor, by)


def told(of: Dimension) -> str:
    """A dimension in words, e.g. "energy / mass"."""
    above = " * ".join(name if power == 1 else f"{name}^{power}" for name, power in of.items() if power > 0)
    below = " / ".join(name if power == -1 else f"{name}^{-power}" for name, power in of.items() if power < 0)
    return f"{above or ('1' if below else 'a number')}{' / ' + below if below else ''}"


def _dimension_of(name: str) -> Dimension:
    return {} if name == "ratio" else {name: 1}


def _product(left: Dimension, right: Dimension, sign: int) -> Dimension:
    powers = {name: left.get(name, 0) + sign * right.get(name, 0) for name in sorted({*left, *right})}
    return {name: power for name, power in powers.items() if power}


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    place = 0
    while place < len(text.rstrip()):
        found = _TOKEN.match(text, place)
        if found is None:
            column = place + 1 + len(text[place:]) - len(text[place:].lstrip())
            raise FormulaError(column, repr(text[column - 1]), "a point, a number, + - * / or a parenthesis")
        index = 1 if found[1] is not None else 2
        yield found.start(index) + 1, found[index]
        place = found.end()


class _Reader:
    """Reads tokens from left to right: * and / bind closer than + and -, equals from the left."""

    def __init__(self, tokens: list[tuple[int, str]], end: int) -> None:
        self._tokens = tokens
        self._end = end
        self._at = 0

    @property
    def next(self) -> str | None:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else None

    @property
    def column(self) -> int:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else self._end

    def _take(self) -> tuple[int, str]:
        self._at += 1
        return self._tokens[self._at - 1]

    def sum(self, depth: int) -> Expression:
        left = self._product(depth)
        while self.next in {"+", "-"}:
            column, operator = self._take()
            left = Term(operator, left, self._product(depth), column)
        return left

    def _product(self, depth: int) -> Expression:
        left = self._one(depth)
        while self.next in {"*", "/"}:
            column, operator = self._take()
            left = Term(operator, left, self._one(depth), column)
        return left

    def _one(self, depth: int) -> Expression:
        if depth > MOST_DEPTH:
            raise FormulaError(self.column, "more parentheses", f"at most {MOST_DEPTH} within one another")
        if self.next is None:
            raise FormulaError(self.column, "the end", "a point, a number or a parenthesis")
        column, word = self._take()
        if word == "(":
            inner = self.sum(depth + 1)
            if self.next != ")":
                raise FormulaError(self.column, repr(self.next) if self.next else "the end", "')'")
            self._take()
            return inner
        if word == "-":
            return Term("*", Number(Fraction(-1)), self._one(depth + 1), column)
        if word in "+*/)":
            raise FormulaError(column, repr(word), "a point, a number or a parenthesis")
        if _NUMBER.fullmatch(word):
            return Number(Fraction(Decimal(word)))
        return Name(word, column)
