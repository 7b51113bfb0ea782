"""The store's rows as Arrow tables, for whoever computes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.sessions.store import Store, column_types

if TYPE_CHECKING:
    import pyarrow


def frames(store: Store) -> dict[str, pyarrow.Table]:
    """Every table, typed also where it is empty: times and counts int64, text utf8, truths bool. Needs pyarrow."""
    import pyarrow as pa

    kinds = {"TEXT": pa.string(), "INTEGER": pa.int64(), "REAL": pa.float64(), "BOOLEAN": pa.bool_()}
    made = {}
    for table, columns in column_types().items():
        names, rows = store.rows(table)
        by_name = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
        made[table] = pa.table(
            {name: pa.array(by_name.get(name, ()), kinds[kind]) for name, kind in columns},
        )
    return made
