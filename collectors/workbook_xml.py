"""XML of a workbook's parts as a stream of elements, without a tree: a part costs the memory of one element.

No document type is taken, so there are no entities; a token without an end is told off before it fills the memory.
"""

from collections.abc import Callable, Iterator
from typing import IO, NamedTuple
from xml.parsers import expat

_PIECE = 65_536  # [bytes] handed to the parser at a time
_LONGEST_TOKEN = 1_048_576  # [bytes] that a tag or a run without an end may take
LONGEST_TEXT = 32_768  # characters: a cell has at most 32 767
_MOST_CELLS = 16_384  # of one row


class NotXml(ValueError):
    """A part that is no XML of a workbook, and why."""


class Element(NamedTuple):
    """An element at its end, or at its beginning; names without their namespace. `text` is that of its `t` children."""

    name: str
    attributes: dict[str, str]
    text: str
    begins: bool


Raw = tuple[str, str, int, str]  # reference, kind, style, text


class _Stream:
    """Feeds a part to a parser piece by piece."""

    def __init__(self, part: IO[bytes]) -> None:
        self._part = part
        self._quiet = 0  # bytes since the parser last said something
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = _no_doctype
        self._parser.StartElementHandler = self._heard(self.start)
        self._parser.EndElementHandler = self._heard(self.end)
        self._parser.CharacterDataHandler = self._heard(self.data)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def data(self, text: str) -> None:
        """Text within an element."""

    def pieces(self) -> Iterator[None]:
        """Parse the part, a piece between two turns. Raises NotXml."""
        while True:
            piece = self._part.read(_PIECE)
            self._quiet += len(piece)
            if self._quiet > _LONGEST_TOKEN + _PIECE:
                raise NotXml(f"more than {_LONGEST_TOKEN} bytes without an end of a tag")
            try:
                self._parser.Parse(piece, not piece)
            except (expat.ExpatError, LookupError, ValueError) as error:
                raise error if isinstance(error, NotXml) else NotXml(str(error)) from error
            yield
            if not piece:
                return

    def _heard(self, handler: Callable[..., None]) -> Callable[..., None]:
        def hear(*said: object) -> None:
            self._quiet = 0
            handler(*said)

        return hear


class _Elements(_Stream):
    """Collects elements; the text of those in `whole` is that of all `t` elements in them, phonetic guides left out."""

    def __init__(self, part: IO[bytes], whole: set[str], *, begins: bool) -> None:
        super().__init__(part)
        self._whole, self._begins = whole, begins
        self._texts: list[str] = []
        self._length = 0
        self._in_text = False
        self._phonetic = 0
        self.found: list[Element] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = _local(name)
        if name in self._whole:
            self._texts, self._length = [], 0
            if self._begins:
                self.found.append(Element(name, {}, "", begins=True))
        elif name == "rPh":
            self._phonetic += 1
        self._in_text = name == "t" and not self._phonetic
        if self._begins and name not in self._whole:
            plain = {_local(key): value for key, value in attributes.items()}
            self.found.append(Element(name, plain, "", begins=True))

    def end(self, name: str) -> None:
        name = _local(name)
        self._in_text = False
        if name == "rPh":
            self._phonetic -= 1
        elif name in self._whole:
            self.found.append(Element(name, {}, "".join(self._texts), begins=False))

    def data(self, text: str) -> None:
        if self._in_text and self._length < LONGEST_TEXT:
            self._texts.append(text[: LONGEST_TEXT - self._length])
            self._length += len(text)


def elements(part: IO[bytes], whole: set[str], *, begins: bool = False) -> Iterator[Element]:
    """The elements called `whole` as they end, with their text; with `begins`, all elements as they begin too.

    Raises NotXml.
    """
    stream = _Elements(part, whole, begins=begins)
    for _ in stream.pieces():
        yield from stream.found
        stream.found.clear()


class Collector(_Stream):
    """Collects the cells of a sheet, row by row."""

    def __init__(self, part: IO[bytes]) -> None:
        super().__init__(part)
        self._found: list[tuple[int, list[Raw]]] = []
        self._number = 0
        self._cells: list[Raw] = []
        self._cell = ("", "n", 0)
        self._texts: list[str] = []
        self._length = 0
        self._taking = False

    def rows(self) -> Iterator[tuple[int, list[Raw]]]:
        """(number of the row, its cells). Raises NotXml."""
        for _ in self.pieces():
            yield from self._found
            self._found.clear()

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """A row or a cell begins, or what stands in it."""
        name = _local(name)
        if name == "c":
            style = attributes.get("s", "0")
            self._cell = attributes.get("r", ""), attributes.get("t", "n"), int(style) if style.isdecimal() else 0
            self._texts, self._length = [], 0
        elif name == "row":
            said = attributes.get("r", "")
            number = int(said) if said.isdecimal() and len(said) < 8 else self._number + 1
            if number <= self._number:
                raise NotXml(f"row {number} behind row {self._number}")
            self._number, self._cells = number, []
        self._taking = name in {"v", "t"}

    def end(self, name: str) -> None:
        """A cell or a row ends."""
        name = _local(name)
        self._taking = False
        if name == "c":
            self._cells.append((*self._cell, "".join(self._texts)))
            if len(self._cells) > _MOST_CELLS:
                raise NotXml(f"row {self._number} has more than {_MOST_CELLS} cells")
        elif name == "row" and self._cells:
            self._found.append((self._number, self._cells))

    def data(self, text: str) -> None:
        """Text of a value."""
        if self._taking and self._length < LONGEST_TEXT:
            self._texts.append(text[: LONGEST_TEXT - self._length])
            self._length += len(text)


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _no_doctype(*_: object) -> None:
    raise NotXml("it declares a document type, which no workbook has")
