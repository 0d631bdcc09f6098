"""What the demo found: one object for machines, a table for people."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from gateway.command_line import console
from gateway.config import load_site
from gateway.domain.periods import to_datetime
from simulators.demo_checks import (
    Api,
    LiveSpan,
    check_intervals,
    check_live,
    check_pedigrees,
    check_tickets,
    true_kgce,
    whole_month,
)
from simulators.demo_folder import DemoState
from simulators.plant import Plant
from simulators.truth import read_truth

PAST_CARRIERS = {"coal", "oil", "water", "electricity", "gas"}


class Evidence(NamedTuple):
    """What the judge may use: the plant's truth, the folder, the live span, what was handed over."""

    folder: Path
    plant: Plant
    state: DemoState
    truth_file: Path
    span: LiveSpan
    handed_over: int


def judge(api: Api, evidence: Evidence) -> dict[str, Any]:
    """Compare everything and say whether all of it agrees (`ok`)."""
    plant, enterprise = evidence.plant, evidence.plant.lab.enterprise.id
    read = load_site(evidence.folder / "site.toml").series
    live = check_live(api, plant, read_truth(evidence.truth_file), evidence.span, read=read)
    intervals = check_intervals(api, plant, until=evidence.state.history_until)
    tickets = check_tickets(api, plant, until=evidence.state.history_until)
    points = api.get("/api/v1/points", enterprise=enterprise)
    figures = _figures(api, evidence)
    pages = [api.page("/", lang=language, period=figures["period"]) for language in ("zh", "en")]
    journal, verified = api.get("/api/v1/journal"), _verify(evidence.folder / "data" / "journal")
    return {
        "ok": all(
            (
                verified["ok"],
                live.compared >= 1 and not live.mismatches,
                intervals.points_compared >= 1 and intervals.worst_difference_in_resolutions <= 1,
                tickets[0] == tickets[1],
                figures["agrees"],
                not figures["without_pedigree"],
                all(plant.lab.enterprise.name_zh in page or plant.lab.enterprise.name_en in page for page in pages),
            )
        ),
        "lines": len({point["line"] for point in points}),
        "meters": len([point for point in points if point["meter"]]),
        "points": len(points),
        "carriers": sorted({point["carrier"] for point in points}),
        "readings_journaled": verified["readings"],
        "readings_stored": journal["stored_readings"],
        "journal_verified": verified["ok"],
        "history_readings_handed_over": evidence.handed_over,
        "intervals": intervals.intervals_compared,
        "truth": {
            "points_compared": intervals.points_compared,
            "intervals_missing": intervals.missing,
            "worst_difference_in_resolutions": float(intervals.worst_difference_in_resolutions),
            "worst": intervals.worst,
            "tickets_kg": {"gateway": tickets[0], "truth": tickets[1]},
            "live": {
                "readings_compared": live.compared,
                "mismatches": len(live.mismatches),
                "by_wire": live.by_wire,
                "first_mismatches": [str(mismatch) for mismatch in live.mismatches[:5]],
            },
        },
        "enterprise": {"id": enterprise, **figures},
        "api": {"url": api.url, "checked": sorted(api.checked)},
    }


def _figures(api: Api, evidence: Evidence) -> dict[str, Any]:
    plant, enterprise = evidence.plant, evidence.plant.lab.enterprise.id
    month = whole_month(plant, evidence.state.history_until)
    figures = api.get("/api/v1/figures", enterprise=enterprise, period=month.name)
    today = to_datetime(evidence.span.end, plant.lab.lab.timezone).date().isoformat()
    statuses = api.get("/api/v1/figures", enterprise=enterprise, period=today)
    instruments = api.get("/api/v1/instruments", enterprise=enterprise)
    total = next(figure for figure in figures if figure["kind"] == "comprehensive_energy")
    intensity = next(figure for figure in figures if figure["kind"] == "energy_intensity_product")
    truth, tolerance = true_kgce(plant, month)
    counted = [one for one in statuses if one["kind"] in {"calibration_status", "instruments_in_date"}]
    return {
        "period": month.name,
        "comprehensive_energy_kgce": float(total["value"]),
        "expanded_uncertainty_kgce": None
        if total["expanded_uncertainty"] is None
        else float(total["expanded_uncertainty"]),
        "true_kgce": float(round(truth, 3)),
        "agrees": abs(Decimal(total["value"]) - truth) <= tolerance,
        "intensity_kgce_per_t": None if intensity["value"] is None else round(float(intensity["value"]), 4),
        "instruments": len(instruments),
        "instruments_in_date": sum(one["status"] in {"in_date", "due_soon"} for one in instruments),
        "figures": len(figures) + len(counted),
        "without_pedigree": check_pedigrees(api, [one for one in figures if one["value"] is not None] + counted),
    }


def _verify(journal: Path) -> dict[str, Any]:
    """The verifier's own words about the journal."""
    command = [sys.executable, "-m", "gateway", "verify", str(journal), "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)  # noqa: S603 - our own program
    return found


def print_report(report: dict[str, Any]) -> None:
    """The report as a table, and what it means as a last line."""
    out, truth, enterprise = console(), report["truth"], report["enterprise"]
    table = Table("what", "found", "against the truth", title="emg demo", title_justify="left")
    uncertainty = enterprise["expanded_uncertainty_kgce"]
    band = "U unknown" if uncertainty is None else f"± {uncertainty:,.0f} kgce"
    rows = [
        ("lines · meters · points", f"{report['lines']} · {report['meters']} · {report['points']}", ""),
        ("carriers", ", ".join(report["carriers"]), ""),
        ("readings journaled · stored", f"{report['readings_journaled']:,} · {report['readings_stored']:,}", ""),
        ("journal", "verified" if report["journal_verified"] else "DOES NOT VERIFY", ""),
        (
            "live values",
            f"{truth['live']['readings_compared']:,} compared",
            f"{truth['live']['mismatches']} mismatches",
        ),
        (
            "quarter-hours",
            f"{report['intervals']:,} of {truth['points_compared']} points",
            f"worst difference {truth['worst_difference_in_resolutions']:g} resolutions",
        ),
        (
            "coal tickets",
            f"{truth['tickets_kg']['gateway']:,} kg",
            f"{truth['tickets_kg']['truth']:,} kg",
        ),
        (
            f"energy of {enterprise['period']}",
            f"{enterprise['comprehensive_energy_kgce']:,.0f} kgce {band}",
            f"{enterprise['true_kgce']:,.0f} kgce",
        ),
        ("energy per tonne", f"{enterprise['intensity_kgce_per_t']} kgce/t", ""),
        ("instruments in date", f"{enterprise['instruments_in_date']} of {enterprise['instruments']}", ""),
    ]
    for row in rows:
        table.add_row(*row)
    out.print(table)
    verdict = "Everything agrees with the truth." if report["ok"] else "SOMETHING DIFFERS FROM THE TRUTH, see above."
    out.print(f"{verdict} The page is at {report['api']['url']}/ while the demo runs: sh scripts/demo")
