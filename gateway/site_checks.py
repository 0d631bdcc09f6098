"""What in a site file contradicts itself: names that lead nowhere, points counted twice, ratios applied twice."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.decoding import COUNTED
from gateway.domain.quantities import QUANTITIES
from gateway.domain.sites import AccountMethod, MeteringLevel, PointRole
from gateway.errors import Problem, ProfileError
from gateway.formula_checks import formula_contradictions
from gateway.line_form import FilesForm, LineForm, ModbusTcpForm, ModbusTlsForm, MqttForm, PolledForm
from gateway.meter_checks import doubled_ratios, misplaced_map, misplaced_phase, unstated_ratios
from gateway.meter_data import CJT188, DLT645
from gateway.meter_line_checks import meter_line_contradictions
from gateway.mqtt_checks import mqtt_contradictions, pushed_meter_contradictions, tls_contradictions
from gateway.profile import MESSAGE, MODBUS, load_profile, own_profiles, profile_names
from gateway.sink_checks import sink_contradictions
from gateway.site_draft import SiteDraft
from gateway.site_form import AccountForm, PointForm
from gateway.toml_form import closest, shown
from gateway.toml_lines import Place

_LEVELS = tuple(MeteringLevel)
_STOCKS = ("stock", "stock_volume")
# by what the values of a meter come, by the first word of its line's kind
_WIRES = {"modbus": MODBUS, "dlt645": DLT645, "cjt188": CJT188}


def contradictions(draft: SiteDraft, site_file: Path) -> Iterator[Problem]:
    """Every mistake that only shows when tables are read together. Loads the profiles into the draft."""
    yield from _installation(draft)
    yield from _ways(draft, site_file)
    yield from _profiles(draft, site_file)
    yield from _meters(draft)
    yield from pushed_meter_contradictions(draft)
    yield from _points(draft)
    yield from _parents(draft)
    yield from _accounts(draft)
    yield from formula_contradictions(draft)
    yield from _sinks(draft)
    yield from sink_contradictions(draft)
    yield from meter_line_contradictions(draft)


def _unknown(draft: SiteDraft, table: str, name: str, place: Place) -> Iterator[Problem]:
    """The problem that `name` is not the id of any element of `table`; nothing when it is."""
    if name not in draft.ids[table]:
        yield draft.lines.problem(place, shown(name), f"the id of a [[{table}]]", closest(name, draft.ids[table]))


def _installation(draft: SiteDraft) -> Iterator[Problem]:
    if 3600 % draft.settle.interval_s:
        yield draft.lines.problem(
            ("settle", "interval_s"), shown(draft.settle.interval_s), "a number of seconds that divides one hour"
        )


def _ways(draft: SiteDraft, site_file: Path) -> Iterator[Problem]:
    for place, line in draft.ways.items():
        if isinstance(line, PolledForm):
            if line.phase_s >= line.period_s:
                yield draft.lines.problem(
                    (*place, "phase_s"), shown(line.phase_s), f"less than the period of {line.period_s} s"
                )
            if line.timeout_s > line.period_s:
                yield draft.lines.problem(
                    (*place, "timeout_s"), shown(line.timeout_s), f"at most the period of {line.period_s} s"
                )
        if isinstance(line, ModbusTcpForm) and line.pipeline > 1 and line.transaction_ids == "ignored":
            expected = "1, for answers without transaction ids of ours cannot be told apart"
            yield draft.lines.problem((*place, "pipeline"), shown(line.pipeline), expected)
        if isinstance(line, ModbusTlsForm):
            yield from tls_contradictions(draft, place, line, site_file.parent)
        if isinstance(line, MqttForm):
            yield from mqtt_contradictions(draft, place, line, site_file)
        if isinstance(line, FilesForm) and not (site_file.parent / line.mapping).is_file():
            yield draft.lines.problem((*place, "mapping"), shown(line.mapping), "a file that exists beside this one")


def _profiles(draft: SiteDraft, site_file: Path) -> Iterator[Problem]:
    """Loads every profile once; a profile that does not hold is told once, at its first meter."""
    extra_dir = own_profiles(site_file)
    known = profile_names(extra_dir=extra_dir)
    tried: set[str] = set()
    for place, meter in draft.meters.items():
        here = (*place, "profile")
        if meter.profile not in known:
            yield draft.lines.problem(here, shown(meter.profile), "a known profile", closest(meter.profile, known))
        elif meter.profile not in tried:
            tried.add(meter.profile)
            try:
                draft.profiles[meter.profile] = load_profile(meter.profile, extra_dir=extra_dir)
            except ProfileError as error:
                yield draft.lines.problem(here, f"{shown(meter.profile)}, which does not hold", "a sound profile")
                yield from error.problems


def _meters(draft: SiteDraft) -> Iterator[Problem]:
    addresses: dict[tuple[str, int], Place] = {}
    for place, meter in draft.meters.items():
        yield from _unknown(draft, "line", meter.line, (*place, "line"))
        line, profile = draft.way(meter.line), draft.profiles.get(meter.profile)
        if line is not None and profile is not None and _wire(line) != profile.wire:
            yield draft.lines.problem(
                (*place, "line"),
                f"{shown(meter.line)}, a line of kind {line.kind}",
                f"a line that can carry {meter.profile!r}, whose values come by {profile.wire}",
            )
        if profile is not None and profile.side != "secondary":
            yield from doubled_ratios(draft, place, meter, profile.side)
        if profile is not None and profile.side == "secondary":
            yield from unstated_ratios(draft, place, meter, profile)
        if profile is not None:
            yield from misplaced_map(draft, place, meter, profile)
        if meter.phase_s:
            yield from misplaced_phase(draft, place, meter)
        if line is not None and _wire(line) == MODBUS:
            other = addresses.setdefault((meter.line, meter.device_address), place)
            if other != place:
                yield draft.lines.problem(
                    (*place, "device_address"),
                    f"{meter.device_address}, which meter {draft.meters[other].id!r} has on the same line",
                    f"an address of its own on line {meter.line!r}",
                )


def _wire(line: LineForm) -> str:
    return _WIRES.get(line.kind.partition("-")[0], MESSAGE)


def _points(draft: SiteDraft) -> Iterator[Problem]:
    read_at: dict[str, Place] = {}
    for place, point in draft.points.items():
        yield from _unknown(draft, "enterprise", point.enterprise, (*place, "enterprise"))
        if point.meter:
            yield from _unknown(draft, "meter", point.meter, (*place, "meter"))
            other = read_at.setdefault(point.meter, place)
            if other != place:
                yield draft.lines.problem(
                    (*place, "meter"),
                    f"{shown(point.meter)}, which is read at point {draft.points[other].id!r}",
                    "a meter of its own",
                )
        yield from _counted(draft, place, point)


def _counted(draft: SiteDraft, place: Place, point: PointForm) -> Iterator[Problem]:
    """Mistakes about the quantity that is accounted at a point."""
    here = (*place, "counts")
    profile = draft.profile_of(point.meter)
    known = QUANTITIES if profile is None else profile.registers
    if point.counts not in known:
        of = "a known quantity" if profile is None else f"a quantity that {profile.name!r} has"
        yield draft.lines.problem(here, shown(point.counts), of, closest(point.counts, known))
        return
    if (point.role is PointRole.STOCK) != (point.counts in _STOCKS):
        fits = " or ".join(_STOCKS) if point.role is PointRole.STOCK else "a total or an amount"
        yield draft.lines.problem(here, shown(point.counts), f"{fits}, for a point of role {point.role.value}")
    elif profile is not None and point.role is not PointRole.STOCK:
        kind = profile.registers[point.counts].register.kind
        if kind not in COUNTED:
            yield draft.lines.problem(
                here, f"{shown(point.counts)}, which is {kind.value}", "a cumulative or interval register"
            )


def _parents(draft: SiteDraft) -> Iterator[Problem]:
    in_a_circle: set[str] = set()
    known = set(draft.ids["enterprise"])
    for place, point in draft.points.items():
        here = (*place, "parent")
        parent = draft.point(point.parent)
        if point.parent:
            yield from _unknown(draft, "point", point.parent, here)
        if parent is None:
            continue
        chain = _ancestors(draft, point)
        if point.id in chain:
            if point.id not in in_a_circle:
                yield draft.lines.problem(here, " > ".join([*reversed(chain), point.id]), "a parent that is not below")
            in_a_circle.update(chain)
            continue
        if parent.enterprise != point.enterprise and {parent.enterprise, point.enterprise} <= known:
            yield draft.lines.problem(here, f"a point of {parent.enterprise!r}", f"a point of {point.enterprise!r}")
        if parent.carrier != point.carrier:
            yield draft.lines.problem(here, f"a point of {parent.carrier.value}", f"a point of {point.carrier.value}")
        if _LEVELS.index(parent.level) > _LEVELS.index(point.level):
            yield draft.lines.problem(
                here, f"a point of level {parent.level.value}", f"a level not below {point.level.value}"
            )


def _ancestors(draft: SiteDraft, point: PointForm) -> list[str]:
    """Ids of the points above, from the parent upwards; ends where the way repeats itself."""
    chain: list[str] = []
    above: PointForm | None = point
    while above is not None and above.parent and above.parent not in chain:
        chain.append(above.parent)
        above = draft.point(above.parent)
    return chain


def _accounts(draft: SiteDraft) -> Iterator[Problem]:
    counted: dict[str, Place] = {}  # points that some account already takes as consumption, receipt or stock
    for place, account in draft.accounts.items():
        yield from _unknown(draft, "enterprise", account.enterprise, (*place, "enterprise"))
        if account.method is AccountMethod.STOCK and not account.stock:
            yield draft.lines.problem((*place, "stock"), "nothing", "points of role stock, for method stock")
        if account.method is AccountMethod.METERED and account.stock:
            yield draft.lines.problem((*place, "stock"), "points", "no key 'stock' for method metered")
        for key in ("density", "ncv"):
            if getattr(account, key) is not None and not getattr(account, f"{key}_source"):
                yield draft.lines.problem(
                    (*place, f"{key}_source"), "nothing", f"where the {key} comes from", "A figure names its sources."
                )
        for key, names in (("plus", account.plus), ("minus", account.minus), ("stock", account.stock)):
            yield from _account_points(draft, place, account, key, names)
        yield from _twice(draft, place, account, counted)


def _account_points(
    draft: SiteDraft, place: Place, account: AccountForm, key: str, names: Sequence[str]
) -> Iterator[Problem]:
    known = set(draft.ids["enterprise"])
    for name in names:
        here = (*place, key)
        yield from _unknown(draft, "point", name, here)
        point = draft.point(name)
        if point is None:
            continue
        if point.enterprise != account.enterprise and {point.enterprise, account.enterprise} <= known:
            yield draft.lines.problem(
                here, f"{shown(name)} of {point.enterprise!r}", f"points of {account.enterprise!r}"
            )
        if point.carrier != account.carrier:
            yield draft.lines.problem(
                here, f"{shown(name)}, a point of {point.carrier.value}", f"points of {account.carrier.value}"
            )
        if (point.role is PointRole.STOCK) != (key == "stock"):
            expected = "points of role stock" if key == "stock" else "points of a flow; stock belongs under 'stock'"
            yield draft.lines.problem(here, f"{shown(name)} of role {point.role.value}", expected)
        if not point.meter:
            yield draft.lines.problem(
                here, f"{shown(name)}, which has no meter", "points with readings of their own", "Give it a meter."
            )


def _twice(draft: SiteDraft, place: Place, account: AccountForm, counted: dict[str, Place]) -> Iterator[Problem]:
    """Points whose flow would be counted twice."""
    here: dict[str, str] = {}
    for key, names in (("plus", account.plus), ("minus", account.minus), ("stock", account.stock)):
        for name in names:
            if name in here:
                yield draft.lines.problem((*place, key), f"{shown(name)}, also under {here[name]!r}", "each point once")
            here.setdefault(name, key)
            if key == "minus":
                continue
            if counted.setdefault(name, place) != place:
                other = draft.lines.line(counted[name])
                yield draft.lines.problem(
                    (*place, key), f"{shown(name)}, counted by the account in line {other}", "each point in one account"
                )
            point = draft.point(name)
            above = set(_ancestors(draft, point)) & set(names) - {name} if point and key == "plus" else set()
            for parent in sorted(above):
                yield draft.lines.problem(
                    (*place, key), f"{shown(name)} and {shown(parent)}, which lies above it", "each flow counted once"
                )


def _sinks(draft: SiteDraft) -> Iterator[Problem]:
    for place, sink in draft.sinks.items():
        for index, enterprise in enumerate(sink.enterprises):
            yield from _unknown(draft, "enterprise", enterprise, (*place, "enterprises", index))
