"""What a meter of the site file says that its profile contradicts: ratios, beginning of its map, phase."""

from collections.abc import Iterator

from gateway.errors import Problem
from gateway.line_form import PolledForm
from gateway.profile import Profile
from gateway.site_draft import SiteDraft
from gateway.site_form import MeterForm
from gateway.toml_form import shown
from gateway.toml_lines import Place


def doubled_ratios(draft: SiteDraft, place: Place, meter: MeterForm, side: str) -> Iterator[Problem]:
    """Transformer ratios told of a meter that shows primary values already."""
    shows = "primary values" if side == "primary" else "values without transformers"
    for key in ("ct_ratio", "pt_ratio"):
        if getattr(meter, key) != 1:
            yield draft.lines.problem(
                (*place, key),
                shown(getattr(meter, key)),
                f"1, because {meter.profile!r} shows {shows}",
                "The ratio would be applied twice; remove the key.",
            )


def unstated_ratios(draft: SiteDraft, place: Place, meter: MeterForm, profile: Profile) -> Iterator[Problem]:
    """Ratios by which totals would be valued without anybody having stated them."""
    for key in profile.ratios.facts:
        if key not in meter.model_fields_set:
            expected = f"the ratio by which the totals of {meter.profile!r} are valued"
            mend = "What the device has set is compared with it; 1 where there is no transformer."
            yield draft.lines.problem((*place, key), "nothing", expected, mend)


def misplaced_map(draft: SiteDraft, place: Place, meter: MeterForm, profile: Profile) -> Iterator[Problem]:
    """A map whose beginning is not told, is told to a profile with addresses of its own, or leaves no room."""
    key, given = (*place, "base_address"), meter.base_address
    if profile.relative and not given:
        expected = f"the address where the register map of {meter.profile!r} begins in this meter"
        yield draft.lines.problem(key, "nothing", expected, "The profile counts its addresses from there.")
    elif given and not profile.relative:
        expected = f"no such key: {meter.profile!r} has addresses of its own"
        yield draft.lines.problem(key, shown(given), expected, "Remove the key.")
    elif given and given + (end := max(found.reach.stop for found in profile.registers.values())) > 0x10000:
        yield draft.lines.problem(key, shown(given), f"room for the {end} words of {meter.profile!r} below 65536")


def misplaced_phase(draft: SiteDraft, place: Place, meter: MeterForm) -> Iterator[Problem]:
    """A phase after which an answer may fall into the next slot, or one of a meter that is not asked."""
    key, line = (*place, "phase_s"), draft.way(meter.line)
    if isinstance(line, PolledForm) and meter.phase_s + line.timeout_s > line.period_s:
        expected = f"a phase that leaves the timeout of {line.timeout_s} s within the period of {line.period_s} s"
        yield draft.lines.problem(key, shown(meter.phase_s), expected)
    elif line is not None and not isinstance(line, PolledForm):
        expected = f"no such key: on a line of kind {line.kind} nobody is asked"
        yield draft.lines.problem(key, shown(meter.phase_s), expected, "Remove the key.")
