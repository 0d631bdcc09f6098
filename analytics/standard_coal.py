"""Standard coal: what one unit of a carrier or medium counts as, in kgce, and by which row of which edition.

Source: GB/T 2589-2020 - General rules for calculation of the comprehensive energy consumption - §8, Annexes A
and B. The tabulated coefficients are normative: none is recomputed from its calorific value. All arithmetic
is exact; a fraction becomes a decimal only when it is shown.
"""

from dataclasses import dataclass
from fractions import Fraction

from analytics.decimals import plain
from analytics.standards.tables import Row, Tables, cite
from gateway.domain.figures import TableRow
from gateway.domain.sites import Account
from gateway.domain.units import factor, unit
from gateway.errors import StandardTableError

STANDARD = "GB/T 2589"
STATISTICS = "NBS"  # reference coefficients of the national statistics, for carriers that Annex A does not name


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """What one metered unit counts as: `per_metered_unit` [kgce per `metered_unit`], exactly.

    `steps` is the way there in words, `rows` the table rows used, `medium` whether Annex B was used.
    """

    metered_unit: str
    per_metered_unit: Fraction
    steps: str
    basis: str
    rows: tuple[TableRow, ...]
    medium: bool
    doubtful: bool
    name_zh: str
    name_en: str

    def kgce(self, amount: Fraction) -> Fraction:
        """Standard coal [kgce] of an amount [metered_unit]."""
        return amount * self.per_metered_unit


def coefficient_of(account: Account, metered_unit: str, *, edition: str, tables: Tables) -> Coefficient:
    """How the carrier of an account, metered in `metered_unit`, becomes kgce.

    A measured calorific value goes before the default of the annex. Raises StandardTableError with the reason
    when no result may be stated: no row, a range without a measured value, a volume without a density.
    """
    row, medium = _row(account, edition, tables)
    to_row_unit, conversion = _to_row_unit(account, metered_unit, row)
    if account.ncv is not None and not medium:
        per_row_unit, rows, basis, doubtful = _measured(account, row, edition, tables)
    else:
        per_row_unit, rows, basis, doubtful = _default(row, medium=medium)
    steps = " x ".join([*conversion, f"{rows[0].value} {rows[0].unit}"])
    return Coefficient(
        metered_unit=metered_unit,
        per_metered_unit=to_row_unit * per_row_unit,
        steps=steps,
        basis=basis,
        rows=rows,
        medium=medium,
        doubtful=doubtful,
        name_zh=row.text("name_zh"),
        name_en=row.text("name_en"),
    )


def _row(account: Account, edition: str, tables: Tables) -> tuple[Row, bool]:
    row = tables.find("carriers.csv", code=account.conversion, edition=edition)
    if row is not None:
        return row, False
    row = tables.find("working_media.csv", code=account.conversion, edition=edition)
    if row is not None:
        return row, True
    row = tables.find("carriers.csv", code=account.conversion, edition=STATISTICS)
    if row is not None:
        return row, False
    everywhere = (*tables.rows("carriers.csv"), *tables.rows("working_media.csv"))
    others = sorted({row.text("edition") for row in everywhere if row.text("code") == account.conversion})
    known = f"; editions with such a row: {', '.join(others)}" if others else ""
    raise StandardTableError(
        f"{STANDARD}-{edition} has no row {account.conversion!r} in carriers.csv or working_media.csv{known}"
    )


def _to_row_unit(account: Account, metered_unit: str, row: Row) -> tuple[Fraction, list[str]]:
    """The exact factor from the metered unit to the row's, and the words for it."""
    target = row.text("unit")
    source_dimension, target_dimension = unit(metered_unit).dimension, unit(target).dimension
    if source_dimension == target_dimension:
        if metered_unit == target:
            return Fraction(1), []
        exact = factor(metered_unit, target)
        return exact, [f"{plain(exact)} {target}/{metered_unit}"]
    if (source_dimension, target_dimension) != ("volume", "mass"):
        raise StandardTableError(
            f"{account.conversion} is metered in {metered_unit} ({source_dimension}), but its row asks for {target} "
            f"({target_dimension})"
        )
    if account.density is None:
        raise StandardTableError(
            f"{account.conversion} is metered in {metered_unit} but its row asks for {target}; declare the density "
            "[kg/m3] of the account, with its source"
        )
    to_m3, to_row = factor(metered_unit, "m3"), factor("kg", target)
    source = f" ({account.density_source})" if account.density_source else ""
    words = [
        *([f"{plain(to_m3)} m3/{metered_unit}"] if to_m3 != 1 else []),
        f"density {plain(account.density)} kg/m3{source}",
        *([f"{plain(to_row)} {target}/kg"] if to_row != 1 else []),
    ]
    return to_m3 * Fraction(account.density) * to_row, words


def _measured(
    account: Account, row: Row, edition: str, tables: Tables
) -> tuple[Fraction, tuple[TableRow, ...], str, bool]:
    # The statistics' rows lean on GB/T 2589's kilogram of standard coal as well.
    heat = tables.find("identities.csv", code="kgce_heat", edition=edition)
    divisor = heat.number("value") if heat is not None else None
    if heat is None or divisor is None or account.ncv is None:
        raise StandardTableError(f"identities.csv: no row kgce_heat of edition {edition}")
    per_unit = row.text("unit")
    measured = TableRow(
        file=row.file,
        key=account.conversion,
        edition=edition,
        value=f"measured ncv {plain(account.ncv)} kJ/{per_unit} / {plain(divisor)}",
        unit=f"kgce/{per_unit}",
        source=account.ncv_source or "the account declares no source",
        confidence="high" if account.ncv_source else "low",
        confirmed=bool(account.ncv_source),
    )
    identity = cite(heat, key="kgce_heat", value=plain(divisor), unit=heat.text("unit"))
    rows = (measured, identity)
    return Fraction(account.ncv) / Fraction(divisor), rows, "measured calorific value", not account.ncv_source


def _default(row: Row, *, medium: bool) -> tuple[Fraction, tuple[TableRow, ...], str, bool]:
    per_unit, code = row.number("kgce_per_unit"), row.text("code")
    if per_unit is None:
        low, high = row.text("kgce_min"), row.text("kgce_max")
        if low and high:
            raise StandardTableError(
                f"{STANDARD}-{row.text('edition')} gives {code} as a range, {low} to {high} kgce/{row.text('unit')}; "
                "declare a measured calorific value (ncv) of the account, never a midpoint"
            )
        raise StandardTableError(
            f"{STANDARD}-{row.text('edition')} gives no coefficient for {code}: {row.text('note') or 'blank cell'}"
        )
    cited = cite(row, key=code, value=plain(per_unit), unit=f"kgce/{row.text('unit')}")
    if row.text("edition") == STATISTICS:
        basis = "reference coefficient of the national statistics"
    elif medium:
        basis = "Annex B default"
    else:
        basis = "Annex A default"
    if code in {"electricity_equivalent", "heat_equivalent"}:
        basis += ", calorific value (当量值)"
    return Fraction(per_unit), (cited,), basis, row.doubtful
