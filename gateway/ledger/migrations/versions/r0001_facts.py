"""The first ledger: seven tables of facts with two times each, which nobody can update or delete."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = {
    "enterprise": ("id", "name_zh", "name_en"),
    "metering_point": (
        "enterprise", "id", "name_zh", "name_en", "carrier", "level", "role", "counts", "meter", "parent",
    ),
    "account": (
        "enterprise", "carrier", "conversion", "method", "plus", "minus", "stock",
        "density?", "density_source", "ncv?", "ncv_source",
    ),
    "instrument": (
        "enterprise", "id", "point", "name_zh", "name_en", "kind", "maker", "model", "serial",
        "accuracy_class?", "measuring_range", "place", "state",
    ),
    "certificate": (
        "enterprise", "instrument", "number", "kind", "laboratory", "performed_on:date", "valid_until:date?",
        "conforms:boolean?", "expanded_uncertainty_pct?", "k?", "file_sha256",
    ),
    "production": (
        "enterprise", "product", "name_zh", "name_en", "unit", "first_day:date", "day_after:date", "quantity",
    ),
    "output_value": ("enterprise", "first_day:date", "day_after:date", "amount", "price_basis"),
}  # fmt: skip
KEYS = {
    "enterprise": ["id"],
    "metering_point": ["enterprise", "id"],
    "account": ["enterprise", "carrier", "conversion"],
    "instrument": ["enterprise", "id"],
    "certificate": ["enterprise", "instrument", "number"],
    "production": ["enterprise", "product", "first_day"],
    "output_value": ["enterprise", "price_basis", "first_day"],
}
TYPES = {"": sa.Text, "date": sa.Date, "boolean": sa.Boolean}  # decimals are text: they stay exact


def upgrade() -> None:
    for table, columns in TABLES.items():
        op.create_table(
            table,
            sa.Column("row_id", sa.Integer, primary_key=True),
            sa.Column("supersedes", sa.Integer, sa.ForeignKey(f"{table}.row_id"), nullable=True),
            sa.Column("valid_from", sa.Date, nullable=False),
            sa.Column("valid_to", sa.Date, nullable=True),
            sa.Column("recorded_at", sa.BigInteger, nullable=False),
            sa.Column("recorded_by", sa.Text, nullable=False),
            sa.Column("reason", sa.Text, nullable=False),
            *map(_column, columns),
            sa.CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name=f"ck_{table}_span"),
            sa.CheckConstraint("recorded_by <> '' AND reason <> ''", name=f"ck_{table}_told"),
            sqlite_autoincrement=True,
        )
        op.create_index(f"ix_{table}_key", table, KEYS[table])
        op.create_index(f"ix_{table}_supersedes", table, ["supersedes"])
        _forbid_changes(table)


def downgrade() -> None:
    raise NotImplementedError("the ledger is append-only: its tables are never dropped")


def _column(text: str) -> sa.Column[object]:
    name, _, kind = text.removesuffix("?").partition(":")
    return sa.Column(name, TYPES[kind](), nullable=text.endswith("?"))


def _forbid_changes(table: str) -> None:
    """Rows are added, never changed: the database itself refuses, whoever asks.

    On PostgreSQL the same is a function that raises (RAISE EXCEPTION 'append-only') and, per table,
    CREATE TRIGGER ... BEFORE UPDATE OR DELETE OR TRUNCATE ... FOR EACH STATEMENT EXECUTE FUNCTION it.
    """
    if op.get_bind().dialect.name != "sqlite":
        raise NotImplementedError("the append-only triggers of this database have not been written")
    refusal = f"SELECT RAISE(ABORT, 'the ledger is append-only: rows of {table} are never changed or deleted')"
    op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} BEGIN {refusal}; END")
    op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} BEGIN {refusal}; END")
    # INSERT OR REPLACE would delete the old row without asking the trigger above.
    known = f"EXISTS (SELECT 1 FROM {table} WHERE row_id = NEW.row_id)"  # noqa: S608 - names of the list above
    op.execute(f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {known} BEGIN {refusal}; END")
