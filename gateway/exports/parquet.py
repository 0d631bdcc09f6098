"""Parquet as pandas, DuckDB, Spark and polars read it: one file per enterprise and month, sorted, whole numbers.

A counted register's value is `count` x `resolution` [unit]; both are columns, so that a query multiplies and
nothing was rounded. Resolutions as exact decimal text, and where the file comes from, stand in its metadata.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from gateway.exports.blocks import MODE, Kind, SeriesBlock
from gateway.journal.disk import replaced

ROWS_A_GROUP = 500_000
_TEXT = pa.dictionary(pa.int32(), pa.string())
_INSTANT = pa.timestamp("us", tz="UTC")
_HEAD = [
    ("enterprise", _TEXT),
    ("point", _TEXT),
    ("quantity", _TEXT),
    ("unit", _TEXT),
    ("resolution", pa.float64()),
]
_TAILS: Mapping[Kind, list[tuple[str, Any]]] = {
    Kind.READINGS: [
        ("instant", _INSTANT),
        ("count", pa.int64()),
        ("value", pa.float64()),
        ("quality", pa.uint8()),
        ("reason", _TEXT),
        ("sequence", pa.int64()),
    ],
    Kind.INTERVALS: [
        ("start", _INSTANT),
        ("end", _INSTANT),
        ("count", pa.int64()),
        ("quality", pa.uint8()),
        ("reason", _TEXT),
        ("covered_us", pa.int64()),
        ("edge_us", pa.int64()),
        ("edge_counts", pa.int64()),
        ("step", pa.int64()),
        ("first_sequence", pa.int64()),
        ("last_sequence", pa.int64()),
    ],
}


def write_parquet(path: Path, kind: Kind, blocks: Iterable[SeriesBlock], told: Mapping[str, str]) -> int:
    """Write the blocks to `path` in one step; returns the number of rows. Raises OSError.

    `told` goes into the file's metadata beside `emg.series`. Holds one group of rows in memory.
    """
    schema = pa.schema([*_HEAD, *_TAILS[kind]])
    rows, group, held, facts = 0, [], 0, {}
    with (
        replaced(path, mode=MODE) as file,
        parquet.ParquetWriter(file, schema, **_encodings(schema)) as writer,
    ):
        for block in blocks:
            facts[block.series.key] = _facts(block)
            group.append(_batch(block, kind, schema))
            held += len(block.instants)
            if held >= ROWS_A_GROUP:
                writer.write_table(pa.Table.from_batches(group, schema), row_group_size=ROWS_A_GROUP)
                rows, group, held = rows + held, [], 0
        if group:
            writer.write_table(pa.Table.from_batches(group, schema), row_group_size=ROWS_A_GROUP)
        writer.add_key_value_metadata({**told, "emg.series": json.dumps(facts, ensure_ascii=False)})
    return rows + held


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Whole numbers as differences, text as dictionary, zstd over all: under 3 bytes per quarter-hour reading."""
    whole = [field.name for field in schema if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type)]
    delta = {name: "DELTA_BINARY_PACKED" for name in whole if name != "quality"}
    texts = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    return {
        "compression": "zstd",
        "use_dictionary": [*texts, "resolution", "quality"],
        "column_encoding": delta,
    }


def _batch(block: SeriesBlock, kind: Kind, schema: pa.Schema) -> pa.RecordBatch:
    length = len(block.instants)
    series = block.series
    first = "instant" if kind is Kind.READINGS else "start"
    given: dict[str, Any] = {
        first: block.instants,
        "count": block.counts,
        "value": block.values,
        "quality": block.quality,
        "reason": block.reason,
        **block.columns,
    }
    same = {
        "enterprise": series.enterprise,
        "point": series.point,
        "quantity": series.register.quantity,
        "unit": block.unit,
    }
    arrays = []
    for field in schema:
        if field.name in same:
            indices = pa.array([0], pa.int32()).take(pa.array([0] * length, pa.int32()))
            arrays.append(pa.DictionaryArray.from_arrays(indices, pa.array([same[field.name]], pa.string())))
        elif field.name == "resolution":
            step = None if block.resolution is None else float(block.resolution)
            arrays.append(pa.array([step] * length, field.type))
        elif pa.types.is_dictionary(field.type):
            arrays.append(pa.array(given[field.name], pa.string()).dictionary_encode())
        else:
            arrays.append(pa.array(given[field.name], field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _facts(block: SeriesBlock) -> dict[str, Any]:
    resolution = None if block.resolution is None else str(block.resolution)
    return {
        "unit": block.unit,
        "resolution": resolution,
        "meter": block.series.meter,
        "profile": block.series.profile,
        "kind": block.series.register.kind.value,
    }
