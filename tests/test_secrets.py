"""Credentials are forwarded and nowhere written.

Secrets are put wherever a client, a provider or an operator can put one; afterwards every file of the state
directory, every cell of its database and every line of output is searched for each of them, as it was given,
quoted, and in base64. Each secret is its own word, so that a find names the leak.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import duckdb
import pytest

from holdfast.lab.provider import Provider, Request
from holdfast.lab.script import Answer, answer, close_block, fault, http_error, open_text, pause, says, text
from tests.cli.test_serve import free_port
from tests.clients.claude import Machine
from tests.clients.front import HOLDFAST, environment, run_prefix, serving, state_dir
from tests.telemetry.collector import collecting

KEY = "sk-ant-api03-{}-4mJ8xQv2Lr7TnB5wKd9YcH3sFz6GpE1uVa0XoRiSlMqNtWbCyDhJkAfGe"


@dataclass
class Secrets:
    """The planted words, by place."""

    planted: dict[str, str] = field(default_factory=dict)

    def word(self, place: str) -> str:
        """A secret that looks like nothing in particular: only its place says that it is one."""
        return self.planted.setdefault(
            place, f"hush{len(self.planted):02d}Qz7Kp4Vt9Lw2Xn8Rb5{len(self.planted):02d}"
        )

    def key(self, place: str) -> str:
        """A secret in the shape of an API key, for places that are recorded on purpose."""
        return self.planted.setdefault(place, KEY.format(f"{len(self.planted):02d}"))

    def found_in(self, content: bytes) -> list[str]:
        """The places whose secret is in there, in any of its spellings."""
        return [
            place for place, secret in self.planted.items() if any(form in content for form in _forms(secret))
        ]


def _forms(secret: str) -> list[bytes]:
    plain = secret.encode()
    inner = [base64.b64encode(b" " * shift + plain)[4 if shift else 0 : -4] for shift in range(3)]
    return [plain, plain[8:-8], quote(secret, safe="").encode(), *inner, plain.hex().encode()]


# -- planting ---------------------------------------------------------------------------------------


def request_bytes(
    secrets: Secrets, case: str, *, target: str = "/v1/messages", method: str = "POST"
) -> bytes:
    """A request with a secret in every header that may hold one, in its query and in its body."""

    def word(place: str) -> str:
        return secrets.word(f"{case}: {place}")

    def key(place: str) -> str:
        return secrets.key(f"{case}: {place}")

    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 100,
        "stream": True,
        "messages": [{"role": "user", "content": f"{case} {word('prompt')}"}],
        "metadata": {"user_id": word("metadata")},
        "tools": [{"name": "Write", "input_schema": {"type": "object"}}],
    }
    content = json.dumps(body).encode() if method == "POST" else b""
    query = f"?beta=true&api_key={word('query')}&{word('query name')}&x={key('query, as a key')}"
    headers = {
        "Host": "127.0.0.1",
        "User-Agent": f"claude-cli/2.1.86 (external, {key('user-agent')})",
        "x-api-key": key("x-api-key"),
        "Authorization": f"Bearer {word('authorization')}",
        "Cookie": f"session={word('cookie')}; other={word('second cookie')}",
        "Proxy-Authorization": f"Basic {base64.b64encode(('me:' + word('proxy-authorization')).encode()).decode()}",
        "Referer": f"https://me:{word('referer password')}@example.com/?token={word('referer query')}",
        "x-claude-code-session-id": key("session id"),
        "x-claude-code-agent-id": key("agent id"),
        "x-stainless-timeout": key("x-stainless-timeout"),
        "anthropic-version": "2023-06-01",
        "anthropic-beta": word("anthropic-beta"),
        "x-custom": word("any other header"),
        "Content-Type": f"application/json; boundary={word('content-type')}",
        "Content-Length": str(len(content)),
    }
    head = f"{method} {target}{query} HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in headers.items()
    )
    return head.encode() + b"\r\n" + content


def send(port: int, request: bytes, *, until: bytes | None = None) -> bytes:
    """One request on its own connection: hear its answer, or leave as soon as `until` was heard."""
    request = request.replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\nConnection: close\r\n", 1)
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(request)
        heard = b""
        while piece := connection.recv(65536):
            heard += piece
            if until is not None and until in heard:
                break
        return heard


def unkind_provider(secrets: Secrets) -> Provider:
    """A provider that repeats the client's key in its errors, and has secrets of its own in its headers."""

    def rule(request: Request) -> Answer:
        key = request.headers.get("x-api-key", "")
        said = str(request.json.get("messages"))
        own = {
            "set-cookie": f"edge={secrets.word('provider: set-cookie')}; path=/",
            "x-own": secrets.word("provider: header"),
        }
        if "refused" in said:
            return http_error(401, f"invalid x-api-key: {key}", headers=own)
        if "broken" in said:
            return answer(fault("api_error", f"no quota left for {key}"), headers=own)
        if "left" in said:
            told = [open_text(), *says("Once upon"), pause(1.0), *says(" a time."), close_block()]
            return answer(told, headers=own)
        return answer(text("Hello"), headers=own)

    return Provider(rule)


def talk(secrets: Secrets, port: int, prefix: str = "") -> None:
    """Every kind of request: heard, left, refused, broken, opaque, malformed, elsewhere."""
    messages = f"{prefix}/v1/messages"
    assert b"Hello" in send(port, request_bytes(secrets, "heard", target=messages))
    send(port, request_bytes(secrets, "left", target=messages), until=b"upon")
    assert b" 401 " in send(port, request_bytes(secrets, "refused", target=messages))
    send(port, request_bytes(secrets, "broken", target=messages))
    send(port, request_bytes(secrets, "opaque", target=f"{prefix}/v1/models", method="GET"))
    send(port, request_bytes(secrets, "elsewhere", target=f"{prefix}/v1/{secrets.key('elsewhere: path')}"))
    absolute = f"http://me:{secrets.word('absolute: userinfo')}@127.0.0.1:{port}{messages}"
    send(port, request_bytes(secrets, "absolute", target=absolute))
    malformed = request_bytes(secrets, "malformed", target=messages).replace(
        b"Host: 127.0.0.1", b"Bad Header: 1"
    )
    send(port, malformed)
    doubled = request_bytes(secrets, "smuggled", target=messages)
    send(port, doubled.replace(b"Host:", b"Transfer-Encoding: chunked\r\nHost:"))
    time.sleep(2.5)  # the grace of the answer that was left, and the journal's own thread


# -- searching --------------------------------------------------------------------------------------


def leaks(secrets: Secrets, directory: Path, outputs: dict[str, str]) -> list[str]:
    """Every find, as `place of the secret -> where it was found`."""
    found = [
        f"{place} -> output of {name}"
        for name, said in outputs.items()
        for place in secrets.found_in(said.encode())
    ]
    for path in directory.rglob("*"):
        if path.is_file():
            where = path.relative_to(directory)
            found += [f"{place} -> {where}" for place in secrets.found_in(path.read_bytes())]
            found += [f"{place} -> name of {where}" for place in secrets.found_in(str(where).encode())]
    for path in directory.rglob("*.sqlite"):
        found += [
            f"{place} -> {cell}" for cell, content in _cells(path) for place in secrets.found_in(content)
        ]
    return sorted(set(found))


def _cells(path: Path) -> Iterator[tuple[str, bytes]]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            rows = database.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in rows.description]
            for row in rows:
                for name, value in zip(names, row, strict=True):
                    content = value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
                    yield f"{table}.{name}", content


def shown(machine: Machine) -> dict[str, str]:
    """What every command that reads the state directory prints."""
    said: dict[str, str] = {}
    listed = _holdfast(machine, "flights", "--json")
    turns = [json.loads(line)["turn_id"] for line in listed.splitlines() if line.startswith("{")]
    assert turns
    commands = [["flights"], ["attic", "list"], ["attic", "list", "--json"]]
    commands += [["flight", turn] for turn in turns] + [["attic", "show", turn] for turn in turns]
    for arguments in commands:
        said[" ".join(arguments[:2])] = said.get(" ".join(arguments[:2]), "") + _holdfast(machine, *arguments)
    return {**said, "flights --json": listed}


def exported(machine: Machine) -> dict[str, str]:
    """What leaves by SQL and in files."""
    said = {"flights --sql": _holdfast(machine, "flights", "--sql", "FROM moment", "--json")}
    for kind in ([], ["--public"]):
        directory = machine.work / f"export{''.join(kind)}"
        said["export " + "".join(kind)] = _holdfast(
            machine, "export", "--parquet", str(directory), "--force", *kind
        )
        said["files of export " + "".join(kind)] = _rows(directory)
    return said


def _rows(directory: Path) -> str:
    """All that is in a directory of Parquet files: they are compressed, so that their bytes would show nothing."""
    files = sorted(directory.glob("*.parquet"))
    assert files
    database = duckdb.connect()
    rows = [database.execute(f"SELECT * FROM '{file}'").fetchall() for file in files]
    metadata = [database.execute(f"SELECT * FROM parquet_kv_metadata('{file}')").fetchall() for file in files]
    assert any(rows)
    return f"{rows} {metadata} {(directory / '_schema.json').read_text()}"


def _fetch(port: int, path: str, accept: str = "") -> str:
    """What the admin port says."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\n\r\n"
    return send(port, request.encode()).decode("latin-1")


def _holdfast(machine: Machine, *arguments: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [*HOLDFAST, *arguments],
        cwd=machine.work,
        env=environment(machine, env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
    )
    return done.stdout + done.stderr


# -- the tests --------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A clean home."""
    return Machine.prepare(tmp_path / "machine")


@pytest.mark.parametrize("log", ["text", "json"])
def test_serve_writes_no_secret(log: str, machine: Machine) -> None:
    """Secrets in every header, query, cookie, path and URL, in the provider's answers and in the proxy's URL."""
    secrets = Secrets()
    proxy = f"http://me:{secrets.word('proxy URL')}@127.0.0.1:9"
    env = {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1", "HOLDFAST_RETRY_WAIT": "0.1"}
    env["OTEL_EXPORTER_OTLP_HEADERS"] = f"x-collector={secrets.word('key for the collector')}"
    admin = free_port()
    with (
        collecting() as collector,
        unkind_provider(secrets).running() as provider,
        serving(
            provider.url, machine, "--log", log, "--record", "all",
            "--admin", f"127.0.0.1:{admin}", "--otel-endpoint", collector.url, env=env,
        ) as gateway,
    ):  # fmt: skip
        talk(secrets, int(gateway.url.rpartition(":")[2]))
        asked = provider.requests
        pages = [_fetch(admin, "/metrics", kind) for kind in ("", "application/openmetrics-text")]
    outputs = {"serve, stdout": "".join(gateway.out), "serve, stderr": "".join(gateway.err), **shown(machine)}
    outputs |= {"metrics": pages[0], "metrics, the other format": pages[1]}
    outputs["traces"] = b"".join(collector.raw).decode("latin-1")
    if log == "text":
        outputs |= exported(machine)

    assert len(outputs["serve, stdout"].splitlines()) >= 5
    assert all('holdfast_turns_total{kind="turn"' in page for page in pages)
    assert len(collector.named("POST /v1/messages")) >= 4
    assert collector.headers[0]["x-collector"] == secrets.planted["key for the collector"]
    assert any(secrets.planted["heard: x-api-key"] in request.headers.values() for request in asked)
    assert leaks(secrets, state_dir(machine), outputs) == []


def test_an_access_token_is_not_written(machine: Machine) -> None:
    """Neither from the header nor from the path, right or wrong; and it does not go upstream."""
    secrets = Secrets()
    token = secrets.word("access token") + "0123456789"
    with (
        unkind_provider(secrets).running() as provider,
        serving(provider.url, machine, env={"HOLDFAST_TOKEN": token}) as gateway,
    ):
        port = int(gateway.url.rpartition(":")[2])
        by_header = request_bytes(secrets, "by header").replace(
            b"Host:", f"holdfast-token: {token}\r\nHost:".encode()
        )
        assert b"Hello" in send(port, by_header)
        assert b"Hello" in send(port, request_bytes(secrets, "by path", target=f"/{token}/v1/messages"))
        wrong = secrets.word("wrong token") + "0123456789"
        assert b"Hello" not in send(
            port, request_bytes(secrets, "wrong path", target=f"/{wrong}/v1/messages")
        )
        went_upstream = [f"{request.target} {request.headers}" for request in provider.requests]
        time.sleep(0.5)
    outputs = {"serve, stdout": "".join(gateway.out), "serve, stderr": "".join(gateway.err), **shown(machine)}
    outputs["--check"] = _holdfast(machine, "serve", "--check", env={"HOLDFAST_TOKEN": token})

    assert len(went_upstream) == 2
    assert not any(token in seen for seen in went_upstream)
    assert leaks(secrets, state_dir(machine), outputs) == []


def test_an_unreachable_upstream_writes_no_secret(machine: Machine) -> None:
    """The errors of our own making quote nothing of the request."""
    secrets = Secrets()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with serving(f"http://127.0.0.1:{port}", machine) as gateway:
        heard = send(int(gateway.url.rpartition(":")[2]), request_bytes(secrets, "unreachable"))
        time.sleep(0.5)
    outputs = {
        "the answer": heard.decode("latin-1"),
        "serve": "".join(gateway.out + gateway.err),
        **shown(machine),
    }

    assert leaks(secrets, state_dir(machine), outputs) == []


ASKER = """
import os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from urllib.parse import urlsplit
from tests.test_secrets import Secrets, talk
base = urlsplit(os.environ["ANTHROPIC_BASE_URL"])
secrets = Secrets()
talk(secrets, base.port, base.path.rstrip("/"))
Path("planted").write_text(repr(secrets.planted))
"""


def test_run_writes_no_secret(machine: Machine) -> None:
    """The same under `run`, with keys in the command's own environment and arguments."""
    secrets = Secrets()
    script = machine.work / "asker.py"
    script.write_text(ASKER.format(root=str(Path(__file__).resolve().parents[1])))
    with unkind_provider(secrets).running() as provider:
        env = environment(
            machine,
            {
                "ANTHROPIC_BASE_URL": provider.url,
                "ANTHROPIC_API_KEY": secrets.key("run: environment, key"),
                "ANTHROPIC_AUTH_TOKEN": secrets.word("run: environment, token"),
                "ANTHROPIC_CUSTOM_HEADERS": f"x-own: {secrets.word('run: environment, headers')}",
                "HTTPS_PROXY": f"http://me:{secrets.word('run: proxy')}@127.0.0.1:9",
                "HOLDFAST_RETRY_WAIT": "0.1",
            },
        )
        command = [*run_prefix(machine), sys.executable, str(script), secrets.word("run: argument")]
        done = subprocess.run(command, cwd=machine.work, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    planted: dict[str, str] = eval((machine.work / "planted").read_text())  # written by our own script
    secrets.planted |= planted
    outputs = {"run, stdout": done.stdout, "run, stderr": done.stderr, **shown(machine)}

    assert leaks(secrets, state_dir(machine), outputs) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--upstream", "http://me:{secret}@127.0.0.1:9"],
        ["serve", "--upstream", "http://me:{secret}@127.0.0.1:9", "--check"],
        ["serve", "--upstream", "ftp://me:{secret}@127.0.0.1:9"],
        ["serve", "--upstream", "http://127.0.0.1:9/?key={secret}"],
        ["serve", "--proxy", "http://me:{secret}@127.0.0.1:9", "--check"],
        ["serve", "--otel-endpoint", "http://me:{secret}@127.0.0.1:9", "--check"],
        ["serve", "--otel-endpoint", "https://gate.example/{secret}/v1/traces", "--check"],
        ["serve", "--proxy", "socks9://me:{secret}@127.0.0.1:9", "--check"],
        ["run", "--upstream", "http://me:{secret}@127.0.0.1:9", "--", "true"],
        ["serve", "--upstream", "https://gate.example/{secret}/v1", "--check"],
        ["serve", "--upstream", "ftp://gate.example/{secret}/v1"],
        ["run", "--upstream", "https://gate.example/{secret}/v1", "--check", "--", "true"],
    ],
)
def test_a_refused_setting_is_not_quoted_with_its_password(arguments: list[str], machine: Machine) -> None:
    """An error about a URL shows the URL without what must not be shown."""
    secrets = Secrets()
    filled = [argument.format(secret=secrets.word("argument")) for argument in arguments]
    said = _holdfast(machine, *filled)

    assert said
    assert leaks(secrets, machine.home, {"the command": said}) == []


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """The searcher itself: plain, quoted, base64, in a file and in a database cell."""
    secrets = Secrets()
    secret = secrets.word("planted")
    (tmp_path / "plain").write_text(f"x{secret}x")
    (tmp_path / "encoded").write_bytes(base64.b64encode(f"me:{secret}".encode()))
    with sqlite3.connect(tmp_path / "a.sqlite") as database:
        database.execute("CREATE TABLE t (c BLOB)")
        database.execute("INSERT INTO t VALUES (?)", (secret.encode(),))
    found = leaks(secrets, tmp_path, {"a command": secret})

    for where in ("output of a command", "plain", "encoded", "t.c"):
        assert f"planted -> {where}" in found
    assert os.sep not in "".join(found)
