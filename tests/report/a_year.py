"""A year of one person's logs at real size, with something private in every field that could hold it."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.sessions.written import MORNING_MS, Pen

DAY_MS = 86_400_000
MODELS = ("claude-opus-4-6", "claude-opus-4-7", "claude-sonnet-4-5-20250929")
VERSIONS = ("2.1.72", "2.1.87", "2.1.92", "2.1.104", "2.1.112", "2.1.114")
SECRETS = (
    "sk-ant-api03-Zq7rT9vXw2LmK4pB8nHs6JdF1gQyC5eA-0uRtWzXvBn",
    "ghp_Zk3mW9qLx7Rv2Tb8Yc4Hn6Jd1Fs5Ga0EoPuI",
    "AKIAQZ7XRW3MNBVCLK5T",
    "xoxb-731904826151-Lr8Kq2Wv9Zt4",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ6ZWJyYWZpbmNoIn0.Qx7Lr9Wv2Zt4Kq8Mb3Nc5Vd1",
    "glpat-Zx9Lq4Wr7Tv2Kb8Mn3Pc",
)
PEOPLE = ("marguerite.okonkwo", "tobias_zebrafinch", "priya-venkataraman")
MAILS = ("marguerite.okonkwo@quillwort.example", "ops+pager@zebrafinch.test")
HOSTS = ("gw7.quillwort.internal", "build-zebrafinch.lan", "10.87.41.9", "2001:db8:41::9")
CLIENTS = ("quillwort-ledger", "zebrafinch_payroll", "okonkwo-divorce")
ORGANIZATION = "7c31e0b2-5a3f-4b8e-9d27-61f0a4c8e913"
ACCOUNT = "b81d5f40-2c6e-4f7a-8a35-0e9d7c61f2a4"
NEEDLES = (
    *SECRETS, *PEOPLE, *MAILS, *HOSTS, *CLIENTS, ORGANIZATION, ACCOUNT, "quillwort", "zebrafinch", "okonkwo",
    "venkataraman", "marguerite", "/Users/", "feature/umbrella-merger", "umbrella", "Quarterly layoffs",
)  # fmt: skip
"None of these may be in a public file, in whatever case."


@dataclass
class Year:
    """Writes it."""

    home: Path
    sessions: int = 300
    answers: int = 60
    draw: random.Random = field(default_factory=lambda: random.Random(2026))
    records: int = 0
    failures: int = 0

    def written(self) -> Year:
        for number in range(self.sessions):
            self._session(number)
        self._settings()
        self._desktop()
        return self

    def _session(self, number: int) -> None:
        draw = self.draw
        person, client = draw.choice(PEOPLE), draw.choice(CLIENTS)
        cwd = f"/Users/{person}/clients/{client}"
        day = number * 365 // self.sessions
        name = f"{number:08x}-1111-4000-8000-{draw.getrandbits(48):012x}"
        if number % 50 == 0:
            name = f"{person}-{number}"
        pen = Pen(
            name,
            version=VERSIONS[day * len(VERSIONS) // 366],
            cwd=cwd,
            at_ms=MORNING_MS - (365 - day) * DAY_MS,
        )
        pen.asks(f"Quarterly layoffs: mail {draw.choice(MAILS)} with {draw.choice(SECRETS)}")
        for place in range(self.answers):
            pen.after(draw.expovariate(1 / 40)).answers(
                f"msg_{number}_{place}", context=20_000 + place * 2_400, model=draw.choice(MODELS)
            )
            if place % 12 == 0:
                pen.tool_says(
                    f"curl -H 'x-api-key: {draw.choice(SECRETS)}' https://{draw.choice(HOSTS)}/"
                ).asks()
            if draw.random() < 0.01:
                self._failure(pen)
        if number % 7 == 0:
            agent = Pen(
                name, version=pen.version, cwd=cwd, agent=f"{client}-{number}", at_ms=pen.at_ms - 60_000
            )
            agent.asks().after(5).answers(f"msg_{number}_agent").after(2)
            agent.saved(self.home, project=cwd.replace("/", "-").replace("_", "-"))
        pen.saved(self.home, project=cwd.replace("/", "-").replace("_", "-"))
        self.records += len(pen.lines)

    def _failure(self, pen: Pen) -> None:
        draw = self.draw
        self.failures += 1
        kind = draw.randrange(5)
        secret, mail, host, person = (draw.choice(one) for one in (SECRETS, MAILS, HOSTS, PEOPLE))
        if kind <= 1:
            pen.after(300 + draw.uniform(-1, 1)).fails(1)
            if draw.random() < 0.6:
                pen.after(301).fails(2).gives_up()
        elif kind == 2:
            self._overloaded(pen, f"Overloaded. {mail} {secret} at {host} for {person}", secret)
        elif kind == 3:
            cause = {
                "code": f"ECONN {person}",
                "path": f"https://{person}:{secret}@{host}/v1/messages?key={secret}",
                "errno": 0,
            }
            pen.record(
                {
                    "type": "system", "subtype": "api_error", "level": "error", "cause": cause,
                    "error": {"type": None, "cause": cause}, "retryInMs": 500.0, "retryAttempt": 1, "maxRetries": 10,
                },
                gitBranch="feature/umbrella-merger",
            ).after(1)  # fmt: skip
        else:
            pen.gives_up(
                f"API Error: 502 from https://{host}/v1 (proxy {host}, user {person}, {mail}, {secret}) in "
                f"/Users/{person}/clients/{draw.choice(CLIENTS)}/notes.md: Quarterly layoffs"
            ).asks()

    def _overloaded(self, pen: Pen, message: str, secret: str) -> None:
        headers = {
            "request-id": f"req_011C{self.failures:08d}ZkWq",
            "cf-ray": f"{self.failures:016x}-ORD",
            "anthropic-organization-id": ORGANIZATION,
            "set-cookie": f"session={secret}",
            "x-should-retry": "true",
        }
        told = {"type": "error", "error": {"type": "overloaded_error", "message": message}}
        error = {"status": 529, "headers": headers, "requestID": headers["request-id"], "error": told}
        body: dict[str, Any] = {"type": "system", "subtype": "api_error", "level": "error", "error": error}
        pen.record(body | {"retryInMs": 512.0, "retryAttempt": 1, "maxRetries": 10}).after(3)

    def _settings(self) -> None:
        (self.home / ".claude" / "settings.json").write_text(
            json.dumps(
                {
                    "env": {
                        "QUILLWORT_TOKEN": SECRETS[0],
                        "HTTPS_PROXY": f"http://u:{SECRETS[1]}@{HOSTS[0]}",
                    },
                    "mcpServers": {"zebrafinch-crm": {"command": f"/Users/{PEOPLE[0]}/bin/crm"}},
                    "hooks": {"PreToolUse": [{"hooks": [{"type": "command", "command": "umbrella"}]}]},
                    "apiKeyHelper": f"/Users/{PEOPLE[0]}/key.sh",
                    "zebrafinch": True,
                    "permissions": {"defaultMode": "umbrella"},
                }
            )
        )
        account = {"accountUuid": ACCOUNT, "emailAddress": MAILS[0], "organizationName": "Quillwort"}
        (self.home / ".claude.json").write_text(json.dumps({"oauthAccount": account}))

    def _desktop(self) -> None:
        place = self.home / "Library" / "Logs" / "Claude"
        place.mkdir(parents=True)
        lines = []
        for _ in range(2_000):
            at = datetime.fromtimestamp((MORNING_MS - self.draw.randrange(20 * DAY_MS)) / 1000, UTC)
            said = self.draw.choice(
                (
                    f"[info] [{PEOPLE[0]}] window {CLIENTS[0]}",
                    "[error] [sessions-bridge] Poll error: net::ERR_INTERNET_DISCONNECTED",
                    f"[error] fetch https://{HOSTS[0]}/?token={SECRETS[2]} net::ERR_NAME_NOT_RESOLVED",
                )
            )
            lines.append(f"{at:%Y-%m-%d %H:%M:%S} {said}\n")
        (place / "main.log").write_text("".join(sorted(lines)))


def leaks(page: str) -> list[str]:
    """What of it can be read in a page, however it is escaped."""
    shown = page.replace("\u200b", "").replace("\\", "").casefold()
    return [one for one in NEEDLES if one.casefold() in shown]
