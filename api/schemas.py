"""The documents of the HTTP interface: every number with its unit, every instant with its offset."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Document(BaseModel):
    """Base of all documents: unknown fields are an error in our own code, so they are refused."""

    model_config = ConfigDict(extra="forbid")


class EnterpriseDocument(Document):
    """An energy-using unit (用能单位)."""

    id: str = Field(examples=["cement-1"])
    name_zh: str = Field(examples=["示范水泥厂"])
    name_en: str = Field(examples=["Model cement works"])


class PointDocument(Document):
    """A metering point with the age of its newest durable reading."""

    id: str = Field(examples=["E-MAIN"])
    enterprise: str = Field(examples=["cement-1"])
    name_zh: str
    name_en: str
    carrier: str = Field(examples=["electricity"])
    level: str = Field(description="enterprise | subunit | equipment (GB 17167)")
    role: str = Field(description="input | output | internal | stock")
    parent: str
    counts: str = Field(description="the quantity accounted here", examples=["active_energy_import"])
    meter: str = Field(
        description="management number of the meter read here; empty where files or people bring readings"
    )
    line: str
    newest_reading: str | None = Field(description="ISO 8601 with offset")
    age_s: float | None = Field(description="age of the newest durable reading [s]")
    late: bool | None = Field(description="null where nothing promises a period")


class InstrumentDocument(Document):
    """An instrument with its verification or calibration status on a date."""

    id: str
    enterprise: str
    point: str
    name_zh: str
    name_en: str
    kind: str
    maker: str
    model: str
    serial: str
    accuracy_class: str | None
    state: str
    status: str = Field(description="in_date | due_soon | overdue | failed | missing | unknown")
    status_on: str = Field(description="the date of the status")
    certificate: str | None = Field(description="number of the certificate that decides")
    last_day: str | None = Field(description="last day on which it holds, inclusive")
    figure: str = Field(description="id of the figure whose pedigree this status is")


class CertificateDocument(Document):
    """A verification (检定) or a calibration (校准): never merged."""

    number: str
    enterprise: str
    instrument: str
    kind: str
    laboratory: str
    performed_on: str
    valid_until: str | None
    conforms: bool | None
    expanded_uncertainty_pct: str | None
    k: str | None
    file_sha256: str
    recorded_at: str
    recorded_by: str


class ReadingDocument(Document):
    """One stored reading. `value` is exact decimal text in `unit`; `counts` the register as it counts."""

    series: str
    point: str
    quantity: str
    instant: str = Field(description="sampling instant, ISO 8601 with offset")
    instant_us: int = Field(description="the same in microseconds since 1970, UTC")
    value: str | None
    display: str = Field(description="the value as a page shows it, without its unit")
    unit: str
    counts: int | None = Field(description="counts of `resolution`; null for momentary values")
    resolution: str | None
    quality: str
    reason: str
    sequence: int = Field(description="journal entry that proves it")


class IntervalDocument(Document):
    """Consumption over [start, end), labelled by its start."""

    start: str
    end: str
    start_us: int = Field(description="microseconds since 1970, UTC")
    end_us: int
    value: str | None = Field(description="in `unit` of the answer; null = missing, never zero")
    counts: int | None
    quality: str
    reason: str
    covered_s: float = Field(description="how much of it lies between readings close enough to speak for it [s]")
    edge_counts: int = Field(description="the most that interpolation at its boundaries can be wrong by [counts]")
    first_sequence: int
    last_sequence: int


class IntervalsDocument(Document):
    """Intervals of one series, and what its register proves without a place in time."""

    series: str
    unit: str
    resolution: str
    timezone: str
    intervals: list[IntervalDocument]
    unallocated: list[IntervalDocument]


class DerivedPartDocument(Document):
    """One settled amount that went into a derived value, with the journal entries of its readings."""

    series: str
    value: str | None
    unit: str
    quality: str
    reason: str
    first_sequence: int
    last_sequence: int


class DerivedIntervalDocument(Document):
    """A formula's value in one interval, exact where decimals can be; null with the reason where a part is missing."""

    start: str
    end: str
    value: str | None
    quality: str = Field(description="the flags of all parts together")
    reason: str
    parts: list[DerivedPartDocument]


class DerivedDocument(Document):
    """A point that no meter shows, worked out from others."""

    point: str
    name_zh: str
    name_en: str
    formula: str = Field(examples=["main - mill"])
    unit: str = Field(examples=["kWh"])
    timezone: str
    intervals: list[DerivedIntervalDocument]


class RollupDocument(Document):
    """Consumption of one hour, day, month or year of plant time."""

    start: str
    end: str
    value: str | None
    counts: int | None
    coverage: float = Field(description="share of the period that readings speak for, 0..1")
    reason: str


class ConsumptionDocument(Document):
    """Consumption of one metering point by periods of plant time."""

    point: str
    quantity: str
    unit: str
    timezone: str
    by: str
    rows: list[RollupDocument]


class FigureDocument(Document):
    """A figure with everything that says how far to trust it."""

    id: str
    kind: str
    enterprise: str
    period: str
    key: str
    name_zh: str
    name_en: str
    value: str | None = Field(description="exact decimal text; null when it cannot be stated, see `reason`")
    unit: str
    expanded_uncertainty: str | None = Field(description="k = 2, in `unit`; null = unknown, see `uncertainty_note`")
    display: str = Field(description="value ± U rounded to two significant digits of U")
    uncertainty_note: str
    coverage: str
    share_estimated: str
    edition: str
    method: str
    sign_convention: str
    reason: str
    marks: list[str]
    pedigree_url: str


class PedigreeDocument(Document):
    """The whole derivation of a figure, down to readings and certificates."""

    figure: str
    tree: dict[str, Any]


class JournalDocument(Document):
    """Where the journal stands."""

    newest_sequence: int
    stored_sequence: int
    stored_readings: int = Field(description="readings in the store, of all the caller may see")
    inbox_waiting: int = Field(description="files in the inbox that are not journaled yet")
    entries_waiting: int = Field(description="journaled, not yet in the reading store")


class HealthDocument(Document):
    """Whether this program answers."""

    status: str = Field(examples=["alive"])
    version: str


class ReadyDocument(Document):
    """Whether the plant is being measured: health is the age of the newest durable reading."""

    ready: bool
    newest_reading_age_s: float | None
    late_points: list[str]
    journal: JournalDocument
    ages_s: dict[str, float | None] = Field(description="age of the newest durable reading of each point [s]")


class DecisionDocument(Document):
    """What became of a proposed correction."""

    state: str = Field(description="approved | rejected")
    by: str = Field(description="who decided: never who proposed what was approved")
    at: str
    entry: int = Field(description="journal entry of the decision")
    remark: str


class CorrectionDocument(Document):
    """A correction with both values; what was read is never changed."""

    proposal: int = Field(description="journal entry of the proposal")
    series: str
    unit: str
    instants: list[str] = Field(description="sampling instants, ISO 8601 with offset")
    was: list[str | None] = Field(description="what stood when proposed, by the journal, in `unit`; null = nothing")
    values: list[str | None] = Field(description="what is to stand; null = struck out")
    reason: str
    author: str
    at: str
    evidence: dict[str, Any] | None = Field(description="file name, SHA-256 and size of the document that shows why")
    decision: DecisionDocument | None = Field(description="null while it is open")


class CheckpointDocument(Document):
    """The head of the journal's chain, signed; the form that a witness keeps."""

    at: int = Field(description="microseconds since 1970, UTC")
    gateway: str
    hash: str = Field(description="SHA-256 of entry `sequence`, in hex")
    key: str = Field(description="id of the key that signed")
    sequence: int
    signature: str = Field(description="Ed25519, in hex")
