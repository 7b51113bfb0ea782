"""Where names lead: by the system's own call, and by each resolver asked over UDP."""

from __future__ import annotations

import secrets
import select
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.probes import dns
from holdfast.probes.net import TICK_S, Address, Stop, now_s
from holdfast.probes.target import is_address

RESOLV_CONF = Path("/etc/resolv.conf")
BEHIND_STUB = Path("/run/systemd/resolve/resolv.conf")
"Whom systemd's local resolver asks."
MOST_RESOLVERS = 6
AT_ONCE = 10
"Questions to one resolver: more at a time may be taken for abuse, and dropped."


@dataclass(frozen=True, slots=True)
class Found:
    """What the system's call gave."""

    addresses: tuple[Address, ...]
    took_s: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to one resolver."""

    reply: dns.Reply | None
    "None where nothing usable came."
    took_s: float
    error: str = ""
    "`timeout`, `refused`, or what was wrong with the answer."


def system(host: str, port: int, patience_s: float, stop: Stop = lambda: False) -> Found:
    """All addresses, both families, in the system's order; waits no longer than `patience_s`."""
    began = now_s()
    found: list[Address] = []
    said: list[str] = []

    def ask() -> None:
        try:
            # The system's call cannot be interrupted, so it has a thread that nobody waits for.
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            said.append(error.strerror or "error" if isinstance(error, OSError) else "no name")
            return
        for family, _, _, _, place in rows:
            if family in (socket.AF_INET, socket.AF_INET6):
                found.append(Address(str(place[0]), port, "6" if family == socket.AF_INET6 else "4"))
        said.append("")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    while thread.is_alive() and not stop() and now_s() - began < patience_s:
        thread.join(TICK_S)
    took = now_s() - began
    if not said:
        return Found((), took, "stopped" if stop() else f"no answer within {patience_s:g} s")
    return Found(tuple(dict.fromkeys(found)), took, said[0])


def resolvers(files: Sequence[Path] = (RESOLV_CONF, BEHIND_STUB)) -> list[str]:
    """The addresses of the configured resolvers; none where no file says."""
    found: list[str] = []
    for path in files:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[:200]
        except OSError:
            continue
        for words in (line.split() for line in lines):
            if len(words) >= 2 and words[0] == "nameserver" and is_address(words[1].partition("%")[0]):
                found.append(words[1])
    return list(dict.fromkeys(found))[:MOST_RESOLVERS]


def ask(resolver: tuple[str, int], name: str, kind: str, patience_s: float, stop: Stop) -> Asked:
    """One question over UDP, sent once: a resolver that is slow or loses packets should show."""
    began = now_s()
    identity = secrets.randbelow(1 << 16)
    try:
        message = dns.query(identity, name, kind)
        family = socket.AF_INET6 if ":" in resolver[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(resolver)
            sock.send(message)
            problem = ""
            while (left := began + patience_s - now_s()) > 0 and not stop():
                if not select.select([sock], [], [], min(left, TICK_S))[0]:
                    continue
                try:
                    return Asked(dns.reply(sock.recv(dns.LARGEST), identity, kind), now_s() - began)
                except ValueError as error:
                    problem = str(error)  # somebody else's, or a forger's; the right one may follow
            return Asked(None, now_s() - began, "stopped" if stop() else problem or "timeout")
    except ConnectionRefusedError:
        return Asked(None, now_s() - began, "refused")
    except (OSError, UnicodeError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Asked(None, now_s() - began, said)


def ask_all(
    resolver: tuple[str, int], questions: Sequence[tuple[str, str]], patience_s: float, stop: Stop
) -> list[Asked]:
    """Several names and kinds of one resolver, `AT_ONCE` at a time; what is not asked after `stop` is `stopped`."""
    answers = [Asked(None, 0.0, "stopped")] * len(questions)

    def one(place: int) -> None:
        answers[place] = ask(resolver, *questions[place], patience_s, stop)

    for begin in range(0, len(questions), AT_ONCE):
        if stop():
            break
        places = range(begin, min(begin + AT_ONCE, len(questions)))
        threads = [threading.Thread(target=one, args=(place,), daemon=True) for place in places]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return answers
