"""What stands around a diagnosis in a report: where the client ran, and what came since the last report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from holdfast.diagnosis.since import Since, told
from holdfast.sessions.environment import ANOTHERS, Environment, Skipped


@dataclass(frozen=True, slots=True)
class Around:
    """Both are None where nobody looked: an unmeasured environment, or a first report."""

    environment: Environment | None = None
    since: Since | None = None
    when: str = ""
    "When the earlier report was made, in words of the local clock."

    def since_lines(self) -> list[str]:
        """What came since the last report, in sentences; empty for a first one."""
        return told(self.since, self.when) if self.since is not None else []

    def environment_rows(self) -> list[tuple[str, str]]:
        """Name and value of what is known."""
        return [(fact.name, fact.value) for fact in self.environment.facts] if self.environment else []

    def gaps(self) -> list[str]:
        """What could not be found out, why, and what to type; what has the same reason in one line."""
        by_reason: dict[str, list[Skipped]] = {}
        for one in self.environment.skipped if self.environment else []:
            by_reason.setdefault(one.why, []).append(one)
        told = []
        for why, same in by_reason.items():
            lines = "; ".join(one.line for one in same if one.line)
            where = "type on that one" if why == ANOTHERS else "type"
            told.append(
                f"{', '.join(one.name for one in same)}: {why}" + (f"; {where}: {lines}" if lines else "")
            )
        return told

    def as_json(self) -> dict[str, Any]:
        """`environment` and `since_last`, each None where nobody looked."""
        return {
            "environment": asdict(self.environment) if self.environment else None,
            "since_last": asdict(self.since) if self.since else None,
        }


NOTHING = Around()
