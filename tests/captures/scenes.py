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
    how: str
    "The name of `closing.How`."
    by: str
    "`client` or `server`: whose packet that was, by its addresses; for silence, who went on asking."
    made_by: str = ""
    "Where it is a reset: the name of `forensics.Grade`."
    seen: tuple[str, ...] = ("near", "far", "any")
    "Which captures show it: on the client's card, on the server's, on all of the client's interfaces."
    long: bool = False


PEER, INJECTED, LOST_STATE, FIREWALL = "PEER", "INJECTED", "LOST_STATE", "FIREWALL"
NEAR_ONLY = ("near", "any")

SCENES = (
    Scene("client_fin", 7001, "CLOSED", "client"),
    Scene("client_rst", 7002, "RESET", "client", PEER),
    Scene("client_unread", 7003, "RESET", "client", PEER),
    Scene("server_fin", 7004, "CLOSED", "server"),
    Scene("server_rst", 7005, "RESET", "server", PEER),
    Scene("server_fin_then_rst", 7006, "FIN_THEN_RST", "server", PEER),
    Scene("server_killed", 7007, "CLOSED", "server"),
    Scene("server_killed_unread", 7008, "RESET", "server", PEER),
    Scene("refused", 7009, "REFUSED", "server"),
    Scene("syn_dropped", 7010, "SYN_UNANSWERED", "client", seen=NEAR_ONLY),
    Scene("dark_while_sending", 7011, "UNANSWERED", "server", seen=("far",), long=True),
    Scene("keepalive_unanswered", 7012, "UNANSWERED", "client", seen=NEAR_ONLY),
    Scene("middle_forgot", 7013, "RESET", "server", LOST_STATE, seen=NEAR_ONLY),
    Scene("injected", 7014, "RESET", "server", INJECTED, seen=NEAR_ONLY),
    Scene("local_firewall", 7015, "RESET", "server", FIREWALL, seen=("any",)),
    Scene("zero_window", 7016, "CLOSED", "server"),
    Scene("half_close", 7017, "CLOSED", "client"),
    Scene("reused", 7018, "CLOSED", "client"),
    Scene("over_ipv6", 7019, "RESET", "server", PEER),
    Scene("tls_refused_by_client", 7020, "CLOSED", "client"),
    Scene("tls_with_farewell", 7021, "CLOSED", "server"),
    Scene("tls_without_farewell", 7022, "FIN_THEN_RST", "server", PEER),
    Scene("tls12_with_farewell", 7023, "CLOSED", "server"),
    Scene("http2_goaway", 7024, "CLOSED", "server"),
    Scene("nat_forgot", 7026, "RESET", "client", LOST_STATE, seen=("far",)),
    Scene("on_loopback", 7025, "RESET", "client", PEER, seen=("any",)),
)
BY_NAME = {scene.name: scene for scene in SCENES}
