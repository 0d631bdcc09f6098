"""Figures: all that can be stated of an enterprise and a period, and any one of them from its id alone.

A figure is a pure function of the intervals and the ledger as known at its as-of, and of the standards'
tables: the same id gives the same figure at any later time.
"""

from collections.abc import Callable
from dataclasses import replace

from analytics.accounting import amounts_of
from analytics.consumption import (
    COMPREHENSIVE_ENERGY,
    ENERGY_CONSUMPTION,
    STANDARD_COAL,
    comprehensive_energy,
    energy_consumption,
    standard_coal,
)
from analytics.context import Asked, FigureContext, asked
from analytics.conversion import converted
from analytics.instrument_figures import (
    CALIBRATION_STATUS,
    INSTRUMENTS_IN_DATE,
    calibration_status,
    calibration_statuses,
    instruments_in_date,
    on_its_last_day,
)
from analytics.intensity import PER_OUTPUT_VALUE, PER_PRODUCT, intensities
from analytics.plant_facts import PlantFacts, plant_facts
from gateway.domain.figures import Figure, split_figure_id
from gateway.errors import LedgerError


def figures_of(context: FigureContext, enterprise: str, period: str, as_of: int | str | None = None) -> list[Figure]:
    """Every figure of an enterprise and a period (its name), as known at `as_of` ([us, UTC] or ISO 8601; None: now).

    Instruments are judged on the period's last day, or on the as-of's day while the period runs. Raises
    LedgerError when the enterprise is not known within the scope, or the words are no period or instant.
    """
    question = asked(context, enterprise, period, as_of)
    amounts = amounts_of(plant_facts(question))
    every = converted(question, amounts)
    day = on_its_last_day(question)
    return [
        *(energy_consumption(question, amount) for amount in amounts),
        *(standard_coal(question, one) for one in every),
        comprehensive_energy(question, every),
        *intensities(question, every),
        *calibration_statuses(day),
        instruments_in_date(day),
    ]


def resolve(context: FigureContext, figure_id: str) -> Figure:
    """The figure that an id names. Raises LedgerError when the id names none."""
    try:
        kind, enterprise, period, key, as_of = split_figure_id(figure_id)
    except ValueError as error:
        raise LedgerError(str(error)) from error
    if kind not in _MAKERS:
        raise LedgerError(f"{figure_id}: there is no kind of figure {kind!r}; known: {', '.join(_MAKERS)}")
    question = asked(context, enterprise, period, as_of)
    found = next((figure for figure in _MAKERS[kind](question, key) if (figure.kind, figure.key) == (kind, key)), None)
    if found is None:
        raise LedgerError(
            f"{figure_id}: {enterprise} has no {kind.replace('_', ' ')} of {key!r} in {period} as known at the as-of"
        )
    return found


def _physical(question: Asked, key: str) -> list[Figure]:
    return [energy_consumption(question, amount) for amount in amounts_of(_only(question, key))]


def _coal(question: Asked, key: str) -> list[Figure]:
    return [standard_coal(question, one) for one in converted(question, amounts_of(_only(question, key)))]


def _only(question: Asked, key: str) -> PlantFacts:
    facts = plant_facts(question)
    return replace(facts, accounts=[row for row in facts.accounts if row.fact.conversion == key])


def _whole(question: Asked, _key: str) -> list[Figure]:
    return [comprehensive_energy(question, converted(question, amounts_of(plant_facts(question))))]


def _intensity(question: Asked, _key: str) -> list[Figure]:
    return intensities(question, converted(question, amounts_of(plant_facts(question))))


def _status(question: Asked, key: str) -> list[Figure]:
    found = calibration_status(on_its_last_day(question), key)
    return [] if found is None else [found]


def _in_date(question: Asked, _key: str) -> list[Figure]:
    return [instruments_in_date(on_its_last_day(question))]


_MAKERS: dict[str, Callable[[Asked, str], list[Figure]]] = {
    ENERGY_CONSUMPTION: _physical,
    STANDARD_COAL: _coal,
    COMPREHENSIVE_ENERGY: _whole,
    PER_PRODUCT: _intensity,
    PER_OUTPUT_VALUE: _intensity,
    CALIBRATION_STATUS: _status,
    INSTRUMENTS_IN_DATE: _in_date,
}
