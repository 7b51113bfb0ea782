"""Where the analyses are computed: DuckDB in memory, for one person's logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast.diagnosis.tables import Sources

if TYPE_CHECKING:
    import ibis
    import pyarrow


class Engine:
    """Arrow tables under their names, and expressions over them as plain rows."""

    def __init__(self, frames: Mapping[str, pyarrow.Table]) -> None:
        import ibis

        self.backend = ibis.duckdb.connect()
        for name, frame in frames.items():
            self.backend.con.register(name, frame)
        self.sources = Sources.of({name: self.backend.table(name) for name in frames})

    def rows(self, expression: ibis.Table) -> list[dict[str, Any]]:
        """The expression's rows, in its order, values as Python has them."""
        found: list[dict[str, Any]] = self.backend.to_pyarrow(expression).to_pylist()
        return found
