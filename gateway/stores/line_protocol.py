"""Line protocol: readings and settled amounts as the lines that InfluxDB and its relatives take [1].

The names are pinned for every store, sink and dashboard. Measurement `readings`; tags `enterprise`, `point` and
`quantity`, always in this order; fields `count` (integer: counts of the resolution) or `value` (float, in the
register's unit), `quality` (integer: flags of Quality), `sequence` (integer: the journal entry that proves it) and
`reason` (string, only where there is one). A server fixes the type of a field at its first write and drops what
differs afterwards; that is why whole numbers and floats never share a field.

Source: [1] InfluxDB - Line protocol reference (measurement, tag set, field set, timestamp; escapes)
"""

from collections.abc import Iterable, Mapping, Sequence

from gateway.contracts import Delivery
from gateway.domain.readings import Quality, Reading, is_identifier, split_series
from gateway.errors import StoreError

MEASUREMENT = "readings"
TAGS = ("enterprise", "point", "quantity")
PRECISION = "us"  # of the timestamps [us, UTC]

_ESCAPES = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
_QUOTED = str.maketrans({"\\": r"\\", '"': r"\""})
# A line ends where the server sees a line feed: no text of a device may bring one, nor any other control character.
_CONTROLS = dict.fromkeys((*range(32), 127, 133, 8232, 8233), "�")
_FLAGS = 2 ** len(Quality)


class SeriesLines:
    """Turns readings into lines. Keeps the escaped measurement and tags of every series it has met."""

    def __init__(self) -> None:
        self._prefixes: dict[str, str] = {}

    def lines(self, sequence: int, readings: Iterable[Reading]) -> list[str]:
        """One line for each reading of journal entry `sequence`. Raises StoreError on a name that is no series'."""
        prefixes, found = self._prefixes, []
        tails = [""] * _FLAGS  # by quality: a list finds a flag faster than a dict would
        for series, instant, value, quality, reason, _ in readings:
            prefix = prefixes[series] if series in prefixes else self._prefix(series)
            tail = tails[quality]
            if not tail:
                tail = tails[quality] = f"quality={int(quality)}i,sequence={sequence}i"
            if reason:
                tail = f'{tail},reason="{quoted(reason)}"'
            if type(value) is int:
                found.append(f"{prefix}count={value}i,{tail} {instant}")
            elif value is None:
                found.append(f"{prefix}{tail} {instant}")
            else:
                found.append(f"{prefix}value={float(value)!r},{tail} {instant}")
        return found

    def lines_of(self, deliveries: Sequence[Delivery]) -> list[str]:
        """One line for each reading of these entries, in their order."""
        return [line for sequence, readings, _ in deliveries for line in self.lines(sequence, readings)]

    def _prefix(self, series: str) -> str:
        prefix = self._prefixes[series] = f"{point_prefix(MEASUREMENT, series_tags(series))} "
        return prefix


def series_tags(series: str) -> dict[str, str]:
    """The tags of a series, in their fixed order. Raises StoreError on a name that is no series'."""
    parts = series.split("/")
    if len(parts) != len(TAGS) or not all(map(is_identifier, parts)):
        raise StoreError(
            f"found the series name {series!r:.200}; expected enterprise/point/quantity, each of 1 to 64 letters, "
            "digits, '.', '_' or '-', beginning with a letter or digit. Nothing else becomes a tag."
        )
    return dict(zip(TAGS, split_series(series), strict=True))


def point_prefix(measurement: str, tags: Mapping[str, str]) -> str:
    """Measurement and tags of a point, escaped. Raises StoreError on a name that is no identifier."""
    texts = (measurement, *tags, *tags.values())
    for text in texts:
        if not is_identifier(text):
            raise StoreError(f"found {text!r:.200} as measurement or tag of a point; expected an identifier.")
    # Identifiers need no escapes; should the rule for them ever be widened, a line still holds what was meant.
    pairs = (f"{name.translate(_ESCAPES)}={value.translate(_ESCAPES)}" for name, value in tags.items())
    return ",".join((measurement.translate(_ESCAPES), *pairs))


def quoted(text: str) -> str:
    """The inside of a string field: quotes and backslashes escaped, control characters replaced."""
    return text.translate(_CONTROLS).translate(_QUOTED)
