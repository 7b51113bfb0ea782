"""What is true of each scene that `stage` plays: who ended it, and how. What a capture must say, and must not."""

from __future__ import annotations

from dataclasses import dataclass

NEAR, FAR = "10.78.1.1", "10.78.2.2"
NEAR6, FAR6 = "fd78:1::1", "fd78:2::2"


@dataclass(frozen=True, slots=True)
class Scene:
    """One connection of the stage."""

    name: str
    "The function in `stage`."
    port: int
    "The server's; no other scene has it."
    by: str
    "`client`, `server`, `middle`, `path`, `this machine`, `nobody`."
    how: str
    "`fin`, `rst`, `fin+rst`, `refused`, `dark`."
    seen: str = "near"
    "Which capture shows it: `near` (on the client's card), `far`, `any` (all of the client's machine)."


SCENES = (
    Scene("client_fin", 7001, "client", "fin"),
    Scene("client_rst", 7002, "client", "rst"),
    Scene("client_unread", 7003, "client", "rst"),
    Scene("server_fin", 7004, "server", "fin"),
    Scene("server_rst", 7005, "server", "rst"),
    Scene("server_fin_then_rst", 7006, "server", "fin+rst"),
    Scene("server_killed", 7007, "server", "fin"),
    Scene("server_killed_unread", 7008, "server", "rst"),
    Scene("refused", 7009, "server", "refused"),
    Scene("syn_dropped", 7010, "path", "dark"),
    Scene("dark_while_sending", 7011, "path", "dark", seen="far"),
    Scene("keepalive_unanswered", 7012, "path", "dark"),
    Scene("middle_forgot", 7013, "middle", "rst"),
    Scene("injected", 7014, "middle", "rst"),
    Scene("local_firewall", 7015, "this machine", "rst", seen="any"),
    Scene("zero_window", 7016, "server", "fin"),
    Scene("half_close", 7017, "client", "fin"),
    Scene("reused", 7018, "client", "fin"),
    Scene("over_ipv6", 7019, "server", "rst"),
    Scene("tls_refused_by_client", 7020, "client", "fin"),
    Scene("tls_with_farewell", 7021, "server", "fin"),
    Scene("tls_without_farewell", 7022, "server", "fin+rst"),
    Scene("tls12_with_farewell", 7023, "server", "fin"),
    Scene("http2_goaway", 7024, "server", "fin"),
    Scene("on_loopback", 7025, "client", "rst", seen="any"),
)
BY_NAME = {scene.name: scene for scene in SCENES}
