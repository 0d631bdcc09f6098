"""How figures and pedigrees look on a terminal: one table, one tree, aligned numbers with their units."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from analytics.decimals import plain
from analytics.uncertainty import shown
from gateway.domain.figures import Figure

MARKS = {
    "to_be_confirmed": "待确认",
    "instrument_overdue": "◷ overdue",
    "instrument_unverified": "◷ no certificate",
    "partial_coverage": "◔ partial",
    "uncertainty_unknown": "U unknown",
    "estimated": "≈ estimated",
}


def figures_table(figures: Sequence[Figure], title: str) -> Table:
    """One line per figure: name, value, U (k = 2), unit, coverage, marks, and the id that resolves to its pedigree."""
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("U (k = 2)", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("coverage", justify="right", no_wrap=True)
    table.add_column("marks")
    table.add_column("id", overflow="fold")
    for figure in figures:
        value, u = shown(figure.value, figure.expanded_uncertainty)
        counted = figure.uncertainty_note.startswith("counted")
        table.add_row(
            escape(figure.name_en),
            value,
            "" if counted else u,
            figure.unit,
            percent(figure),
            ", ".join(MARKS.get(mark, mark) for mark in figure.marks),
            figure.id,
        )
    return table


def percent(figure: Figure) -> str:
    """Coverage in per cent, rounded down: 100 only when it is whole."""
    return f"{plain(Decimal(int(figure.coverage * 1000)) / 10)} %"


def pedigree_tree(node: Mapping[str, Any]) -> Tree:
    """An unfolded pedigree as a tree, from the figure down to readings and certificates."""
    return _grow(None, node)


def _grow(above: Tree | None, node: Mapping[str, Any]) -> Tree:
    head = f"[bold]{escape(node['name_en'])}[/bold]  {node['display']} {node['unit']}  [dim]{escape(node['id'])}[/dim]"
    tree = Tree(head) if above is None else above.add(head)
    for label, text in (
        ("formula", node["formula"]),
        ("values", node["substituted"]),
        ("clause", node["clause"]),
        ("method", node["method"]),
        ("uncertainty", node["uncertainty_note"]),
        ("reason", node["reason"]),
    ):
        if text:
            tree.add(f"{label}: {escape(text)}")
    if node["marks"]:
        tree.add(f"marks: {', '.join(MARKS.get(mark, mark) for mark in node['marks'])}")
    for row in node["rows"]:
        state = "" if row["confirmed"] else " (to be confirmed)"
        text = f"{row['file']} {row['key']}, edition {row['edition']}: {row['value']} {row['unit']}; {row['source']}"
        tree.add(f"row: {escape(text)}, confidence {row['confidence']}{state}")
    for part in node["parts"]:
        _grow(tree, part)
    for one in node["readings"]:
        _add_readings(tree, one)
    for one in node["ledger"]:
        tree.add(f"{one['kind']} {escape(one['key'])}: {escape(one['text'])}{_recorded(one)}")
    return tree


def _add_readings(tree: Tree, one: Mapping[str, Any]) -> None:
    branch = tree.add(
        f"readings: {one['series']} of {one['instrument'] or 'no meter'}, {one['start']} to {one['end']}, "
        f"journal {one['first_sequence']}..{one['last_sequence']}, {one['count']} readings"
    )
    for label in ("first", "last"):
        if one[label]:
            reading = one[label]
            branch.add(
                f"{label}: {reading['instant']}  {reading['value']} (x {one['resolution']} {one['unit']})  "
                f"{reading['quality']}, journal {reading['sequence']}"
            )
    if one["digest"]:
        branch.add(f"sha256: {one['digest']}")


def _recorded(one: Mapping[str, Any]) -> str:
    return f" [dim](recorded {one['recorded_at']} by {escape(one['recorded_by'])})[/dim]" if one["recorded_at"] else ""
