"""Writing into the ledger: one transaction in which somebody, for a reason, states facts. Rows are only added."""

from datetime import date
from typing import TypedDict

from sqlalchemy import Connection, insert

from gateway.domain.periods import iso
from gateway.domain.scopes import Scope
from gateway.errors import LedgerError
from gateway.ledger.kinds import F, Kind, kind_of
from gateway.ledger.known import Recorded, history, known
from gateway.ledger.refusals import EntryRefused, refuse_wrong
from gateway.ledger.spans import Known, Piece, Span, stated, withdrawn

BEGINNING = date.min  # of time: a fact that was always so, as far as the ledger is concerned


class Entry(TypedDict):
    """When [us, UTC], by whom and why something is recorded; all three are asked for."""

    recorded_at: int
    recorded_by: str
    reason: str


class Booking:
    """An open transaction. What is refused leaves no row; the others of the same transaction stand."""

    def __init__(self, connection: Connection, scope: Scope, today: date, entry: Entry) -> None:
        if not entry["recorded_by"].strip() or not entry["reason"].strip():
            raise LedgerError("recorded_by or reason is empty; the ledger asks of every entry who made it and why")
        self._connection = connection
        self._scope = scope
        self._entry = entry
        self.today = today  # the plant's date of `recorded_at`

    def known(self, kind: Kind[F], **equals: object) -> list[Recorded[F]]:
        """What is known now, this transaction's own entries included; every span."""
        return known(self._connection, kind, self._scope, as_of=None, where=equals)

    def record(self, fact: F, *, valid_from: date | None = None, valid_to: date | None = None) -> bool:
        """State a fact. Returns False when the ledger knew it already and nothing was appended.

        A state (enterprise, point, account, instrument) holds from `valid_from` to before `valid_to`
        (None: until further notice). Where no `valid_from` is given it holds from the beginning of time if
        nothing of the sort was ever known, otherwise from the plant's date of `recorded_at` to where the
        next change is booked already. A document (certificate, production, output value) carries its own
        dates and replaces what stood under its key.
        Raises EntryRefused, LedgerError outside the scope.
        """
        kind = kind_of(fact)
        self._allow(kind, fact)
        refuse_wrong(self._connection, fact)
        rows = history(self._connection, kind, fact)
        standing = _standing(rows)
        own = kind.span_of(fact)
        if own is None:
            span = self._now(kind, fact, standing) if valid_from is None else Span(valid_from, valid_to)
            if span.valid_from >= span.end:
                raise EntryRefused("valid_to", found=str(valid_to), expected=f"a day after {span.valid_from}")
            return self._append(kind, rows, stated(standing, fact, span))
        if any(row.fact == fact for row in standing):
            return False
        replaced = standing[0].row_id if standing else None
        return self._append(kind, rows, [Piece(replaced, own, fact)])

    def withdraw(self, fact: F, *, valid_from: date | None = None) -> bool:
        """State that nothing holds of the fact's subject from `valid_from` on; False when so known already.

        A document is withdrawn whole; a state ends on `valid_from` (None: the plant's date of `recorded_at`).
        """
        kind = kind_of(fact)
        self._allow(kind, fact)
        rows = history(self._connection, kind, fact)
        start = BEGINNING if kind.dates else valid_from or self.today
        return self._append(kind, rows, withdrawn(_standing(rows), Span(start, None)))

    def _allow(self, kind: Kind[F], fact: F) -> None:
        """The one place where writing meets the scope."""
        owner = str(getattr(fact, kind.owner))
        if not self._scope.allows(owner):
            raise EntryRefused(kind.owner, found=repr(owner), expected="an enterprise that this caller may write for")

    def _now(self, kind: Kind[F], fact: F, standing: list[Known[F]]) -> Span:
        columns = kind.table.c
        family = [columns[name] == getattr(fact, name) for name in kind.family]
        if self._connection.execute(kind.table.select().where(*family).limit(1)).first() is None:
            return Span(BEGINNING, None)
        booked = [day for row in standing for day in row.span if day is not None and day > self.today]
        return Span(self.today, min(booked, default=None))

    def _append(self, kind: Kind[F], rows: list[Recorded[F]], pieces: list[Piece[F]]) -> bool:
        if not pieces:
            return False
        newest = max((row.recorded_at for row in rows), default=self._entry["recorded_at"])
        if newest > self._entry["recorded_at"]:
            raise EntryRefused(
                "recorded_at",
                found=iso(self._entry["recorded_at"]),
                expected=f"no earlier than {iso(newest)}, the newest entry about {kind.subject(pieces[0].fact)}",
                mend="Set the clock right: what was known at an instant must not change afterwards.",
            )
        for piece in pieces:
            row = {**kind.columns_of(piece.fact), **piece.span._asdict(), **self._entry, "supersedes": piece.supersedes}
            self._connection.execute(insert(kind.table).values(row))
        return True


def _standing(rows: list[Recorded[F]]) -> list[Known[F]]:
    superseded = {row.supersedes for row in rows}
    spans = [(row, Span(row.valid_from, row.valid_to)) for row in rows if row.row_id not in superseded]
    return [Known(row.row_id, span, row.fact) for row, span in spans if span.valid_from < span.end]
