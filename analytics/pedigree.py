"""The pedigree of a figure unfolded: formula, conversion rows, parts, down to readings and certificates.

A pedigree holds references; the readings themselves are looked up here, and told by their first and last,
their number and a digest that anyone can compute again from the journal.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from analytics.context import FigureContext
from analytics.decimals import plain
from analytics.figures import resolve
from analytics.uncertainty import format_figure
from gateway.contracts import StoredReading
from gateway.domain.figures import Figure, LedgerReference, ReadingRange
from gateway.domain.instruments import RegisterKind
from gateway.domain.periods import iso
from gateway.domain.readings import Quality, quality_name

Node = dict[str, Any]


def unfold(context: FigureContext, figure: Figure) -> Node:
    """The whole derivation of a figure as one JSON-able tree; `parts` hold the same of what went in.

    Numbers are exact decimal texts, instants ISO 8601 in plant time. Raises LedgerError or StoreError when a
    source cannot be read.
    """
    return _unfold(context, figure, {})


def _unfold(context: FigureContext, figure: Figure, ranges: dict[tuple[str, int, int], Node]) -> Node:
    pedigree = figure.pedigree
    return figure_node(figure) | {
        "formula": pedigree.formula,
        "substituted": pedigree.substituted,
        "clause": pedigree.clause,
        "rows": [asdict(row) for row in pedigree.rows],
        "readings": [_readings(context, one, ranges) for one in pedigree.readings],
        "ledger": [_ledger(context, one) for one in pedigree.ledger],
        "parts": [_unfold(context, resolve(context, part), ranges) for part in pedigree.parts],
    }


def figure_node(figure: Figure) -> Node:
    """A figure's own fields, without its pedigree, as JSON takes them."""
    node = {key: _text(value) for key, value in asdict(figure).items() if key != "pedigree"}
    return node | {"display": format_figure(figure)}


def digest_of(readings: Iterable[StoredReading]) -> str:
    """SHA-256 over one line `instant,value,quality` and a newline per reading, in order of instant.

    Instants are [us, UTC], values as stored (empty when MISSING), qualities the number of the flags.
    """
    digest = hashlib.sha256()
    for reading in readings:
        value = "" if reading.value is None else repr(reading.value)
        digest.update(f"{reading.instant},{value},{int(reading.quality)}\n".encode())
    return digest.hexdigest()


def _readings(context: FigureContext, asked: ReadingRange, ranges: dict[tuple[str, int, int], Node]) -> Node:
    key = (asked.series, asked.start, asked.end)
    if key not in ranges:
        ranges[key] = _looked_up(context, asked)
    zone = context.site_timezone
    return {
        "series": asked.series,
        "instrument": asked.instrument,
        "start": iso(asked.start, zone),
        "end": iso(asked.end, zone),
        "counts": asked.counts,
        "resolution": plain(asked.resolution),
        "unit": asked.unit,
        "first_sequence": asked.first_sequence,
        "last_sequence": asked.last_sequence,
        **ranges[key],
    }


def _looked_up(context: FigureContext, asked: ReadingRange) -> Node:
    """The readings a range rests on: those within it, and the ones on either side of its edges."""
    if _speaks_for_itself(context, asked):
        found = context.readings.readings(context.scope, asked.series, asked.start, asked.end)
    else:
        found = _from_edge_to_edge(context.readings.around(context.scope, asked.series, asked.start, asked.end), asked)
    return {
        "count": len(found),
        "digest": digest_of(found),
        "first": _shown(context, found[0]) if found else None,
        "last": _shown(context, found[-1]) if found else None,
    }


def _speaks_for_itself(context: FigureContext, asked: ReadingRange) -> bool:
    """True for tickets, interval values and surveys: only a total needs its neighbours."""
    register = context.series[asked.series].register if asked.series in context.series else None
    return register is not None and register.kind is not RegisterKind.CUMULATIVE


def _from_edge_to_edge(found: Sequence[StoredReading], asked: ReadingRange) -> list[StoredReading]:
    """Without the reading before one that lies on the very edge."""
    on_the_edge = any(r.instant == asked.start and not r.quality & Quality.MISSING for r in found)
    return [reading for reading in found if not on_the_edge or reading.instant >= asked.start]


def _shown(context: FigureContext, reading: StoredReading) -> Node:
    return {
        "instant": iso(reading.instant, context.site_timezone),
        "value": None if reading.value is None else repr(reading.value),
        "quality": quality_name(reading.quality),
        "sequence": reading.sequence,
    }


def _ledger(context: FigureContext, one: LedgerReference) -> Node:
    return asdict(one) | {"recorded_at": iso(one.recorded_at, context.site_timezone) if one.recorded_at else ""}


def _text(value: object) -> object:
    if isinstance(value, Decimal):
        return plain(value)
    return list(value) if isinstance(value, tuple) else value
