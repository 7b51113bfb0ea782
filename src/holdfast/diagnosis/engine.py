"""Where the analyses are computed: any backend that Ibis knows. One person's logs are for DuckDB in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast.diagnosis.tables import Sources

if TYPE_CHECKING:
    import ibis
    import pyarrow


class Engine:
    """Tables under their names, and expressions over them as plain rows."""

    def __init__(self, frames: Mapping[str, pyarrow.Table]) -> None:
        import ibis

        backend = ibis.duckdb.connect()
        for name, frame in frames.items():
            backend.con.register(name, frame)
        self._over(backend, {name: backend.table(name) for name in frames})

    @classmethod
    def over(cls, backend: Any, tables: Mapping[str, ibis.Table]) -> Engine:
        """Of tables that a backend has already."""
        made = cls.__new__(cls)
        made._over(backend, tables)
        return made

    def _over(self, backend: Any, tables: Mapping[str, ibis.Table]) -> None:
        self.backend, self.tables = backend, tables
        self.sources = Sources.of(tables)

    def rows(self, expression: ibis.Table) -> list[dict[str, Any]]:
        """The expression's rows, in its order, values as Python has them."""
        found: list[dict[str, Any]] = self.backend.to_pyarrow(expression).to_pylist()
        return found
