"""What captures of real kernels' connections are told to be, against what is known of how each was ended."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from holdfast.captures.connections import follow
from holdfast.captures.files import open_capture
from holdfast.captures.masking import PacketMasker
from holdfast.captures.ring import Ring
from holdfast.captures.telling import Report, Twins, conclude
from holdfast.captures.tls import farewell
from holdfast.captures.views import Listener, View
from tests.captures import awkward
from tests.captures.kernels import Captures, needs_kernels, play
from tests.captures.scenes import BY_NAME, SCENES, Scene

pytestmark = needs_kernels

Reports = dict[str, dict[int, Report]]
"By the place of the capture, then by the server's port."


def told(path: Path) -> dict[int, Report]:
    """Every connection of a capture file, by its server's port."""
    with open_capture(path) as capture:
        reports = [conclude(connection) for connection in follow(capture)]
    reports.sort(
        key=lambda report: -report.connection.number
    )  # a scene's first connection is the one it is about
    return {report.connection.server.endpoint[1]: report for report in reports}


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Captures:
    """All scenes that take seconds, played at once."""
    return play(tmp_path_factory.mktemp("stage"), *(scene.name for scene in SCENES if not scene.long))


@pytest.fixture(scope="module")
def stage(captures: Captures) -> Reports:
    """What is told of them."""
    return {place: told(getattr(captures, place)) for place in ("near", "far", "any")}


def check(scene: Scene, report: Report) -> None:
    """The report says what is true of the scene."""
    said = (report.closing.how.name, report.closing.role)
    assert said == (scene.how, scene.by), report.closing
    if scene.made_by:
        assert report.verdict is not None and report.verdict.grade.name == scene.made_by, report.verdict
    else:
        assert report.verdict is None or report.verdict.grade.name in ("PEER", "UNKNOWN"), report.verdict


CASES = [
    pytest.param(scene, place, id=f"{scene.name}-{place}")
    for scene in SCENES
    if not scene.long
    for place in scene.seen
]


@pytest.mark.parametrize(("scene", "place"), CASES)
def test_who_ended_it_is_told_truly(stage: Reports, scene: Scene, place: str) -> None:
    """The same end, captured in several places."""
    check(scene, stage[place][scene.port])


@pytest.mark.long
def test_a_path_that_went_dark_is_not_the_peers_doing(tmp_path: Path) -> None:
    """Data goes unanswered until the kernel gives up: nobody closed, and the capture says so."""
    scene = next(scene for scene in SCENES if scene.name == "dark_while_sending")
    check(scene, told(play(tmp_path, scene.name).far)[scene.port])


# ----- what was said inside


def carried(path: Path) -> dict[int, View]:
    """What each connection carried, by the server's port."""
    listener = Listener()
    with open_capture(path) as capture:
        return {
            connection.server.endpoint[1]: view
            for connection in follow(capture, listen=listener)
            if (view := listener.take(connection)) is not None
        }


def test_a_torn_answer_is_told_torn_however_tcp_ended(captures: Captures) -> None:
    """Reset, closed in order, killed: the answer stops inside the tool call, and what came of it is there."""
    views = carried(captures.near)
    for name in ("client_rst", "client_unread", "server_fin", "server_rst", "middle_forgot", "over_ipv6"):
        conversation = views[BY_NAME[name].port].conversation
        assert conversation is not None, name
        answer = conversation.exchanges[0].response
        assert answer is not None and answer.body.events is not None, name
        assert (answer.status, answer.body.complete, answer.body.events.ended) == (200, False, False), name
        assert answer.body.events.open_block == "tool_use Write", name
    whole = views[BY_NAME["half_close"].port].conversation
    assert whole is not None and whole.exchanges[0].response is not None
    assert whole.exchanges[0].response.body.complete
    reused = views[BY_NAME["reused"].port].conversation
    assert reused is not None and len(reused.exchanges) == 3


def test_tls_tells_its_farewell_and_its_alert(captures: Captures) -> None:
    """By OpenSSL's own records: who took leave, who did not, and which alert refused the handshake."""
    seen = {
        name: carried(captures.near)[BY_NAME[name].port].tls for name in BY_NAME if name.startswith("tls")
    }
    versions = {name: told.version for name, told in seen.items() if told is not None}
    assert versions["tls_with_farewell"] == "TLS 1.3" and versions["tls12_with_farewell"] == "TLS 1.2"
    farewells = {name: farewell(told, told.server) for name, told in seen.items() if told is not None}
    assert farewells["tls_with_farewell"] == farewells["tls12_with_farewell"] == "likely"
    assert farewells["tls_without_farewell"] == "not likely"
    refused = seen["tls_refused_by_client"]
    assert refused is not None and [alert.name for alert in refused.client.alerts] == ["unknown_ca"]
    assert refused.sni == "api.test"


def test_http2_tells_why_it_was_sent_away(captures: Captures) -> None:
    """GOAWAY's code and its debug text."""
    conversation = carried(captures.near)[BY_NAME["http2_goaway"].port].conversation
    assert conversation is not None and conversation.frames is not None
    (goaway,) = conversation.frames[1].goaways
    assert goaway[1:] == (0, "ENHANCE_YOUR_CALM", "too_many_pings")


@pytest.mark.parametrize("place", ["near", "any"])
def test_masked_packets_tell_the_same_without_the_key(captures: Captures, tmp_path: Path, place: str) -> None:
    """What `holdfast capture` would have written of it: every ending as before, no credential, no prompt."""
    ports = {scene.port for scene in SCENES}
    masker, ring = PacketMasker(ports.__contains__), Ring(tmp_path / "a.pcap", most_bytes=1 << 24, keep_s=600)
    source: Path = getattr(captures, place)
    with open_capture(source) as capture:
        for packet in capture:
            for ready in masker.take(packet):
                ring.write(ready)
    for ready in masker.finish():
        ring.write(ready)
    ring.finish()
    reports = told(tmp_path / "a.pcap")
    for scene in SCENES:
        if place in scene.seen and not scene.long:
            check(scene, reports[scene.port])
    written = (tmp_path / "a.pcap").read_bytes()
    assert b"sk-ant-a-key-of-the-stage" in source.read_bytes()
    assert b"sk-ant" not in written and b'{"stream":true}' not in written and b"event: ping" in written


# ----- files as they come from elsewhere

NEAR_SCENES = [scene for scene in SCENES if "near" in scene.seen and not scene.long]


def all_true(path: Path) -> None:
    """Every scene is told as in the untouched capture."""
    reports = told(path)
    for scene in NEAR_SCENES:
        check(scene, reports[scene.port])


@pytest.mark.parametrize("change", [awkward.twice, awkward.tagged, awkward.wrong_checksums])
def test_awkward_files_tell_the_same(captures: Captures, tmp_path: Path, change: awkward.Change) -> None:
    """Every packet twice, as on two interfaces; a VLAN's tag; checksums that the card would have filled in."""
    all_true(awkward.write(tmp_path / "a.pcap", change(awkward.packets(captures.near))))


def test_gzip_tells_the_same(captures: Captures, tmp_path: Path) -> None:
    """A compressed file is read as it is."""
    (tmp_path / "a.pcap.gz").write_bytes(gzip.compress(captures.near.read_bytes()))
    all_true(tmp_path / "a.pcap.gz")


@pytest.mark.parametrize("seed", range(3))
def test_disorder_among_packets_changes_no_ending(captures: Captures, tmp_path: Path, seed: int) -> None:
    """Capturing on several CPUs mixes packets of 50 ms; who ended each connection stays the same."""
    mixed = awkward.shuffled(awkward.packets(captures.near), random.Random(seed))
    reports = told(awkward.write(tmp_path / "a.pcap", mixed))
    for scene in NEAR_SCENES:
        report = reports[scene.port]
        assert report.closing.role == scene.by, (scene, report.closing)
        assert report.verdict is None or report.verdict.grade.name in (
            scene.made_by or "PEER",
            "PEER",
            "UNKNOWN",
        )


@pytest.mark.parametrize(
    "to_server",
    [
        pytest.param(True, id="requests only"),
        pytest.param(False, id="answers only"),
    ],
)
def test_one_direction_alone_blames_no_path(captures: Captures, tmp_path: Path, to_server: bool) -> None:
    """Where the other direction is not in the capture, silence proves nothing."""
    half = awkward.one_way(awkward.packets(captures.near), to_server=to_server)
    for port, report in told(awkward.write(tmp_path / "a.pcap", half)).items():
        scene = next(scene for scene in SCENES if scene.port == port)
        if scene.how not in (
            "UNANSWERED",
            "SYN_UNANSWERED",
            "REFUSED",
        ):  # of the last, one SYN is all there is
            assert report.closing.how.name not in ("UNANSWERED", "SYN_UNANSWERED"), (scene, report.closing)
        if report.verdict is not None and report.verdict.certain:
            assert report.verdict.grade.name in (scene.made_by or "PEER", "PEER"), (scene, report.verdict)


@pytest.mark.parametrize("seed", range(5))
def test_a_file_that_was_cut_gives_what_is_there(captures: Captures, tmp_path: Path, seed: int) -> None:
    """Cut at any byte: what had ended before is told as ever, and the file is said to be cut."""
    whole = captures.near.read_bytes()
    at = random.Random(seed).randrange(200, len(whole))
    (tmp_path / "a.pcap").write_bytes(whole[:at])
    with open_capture(tmp_path / "a.pcap") as capture:
        found = [conclude(connection) for connection in follow(capture)]
    assert found
    ended = {scene.port: scene for scene in NEAR_SCENES}
    for report in found:
        scene = ended.get(report.connection.server.endpoint[1])
        if scene is not None and report.closing.how.name == scene.how and report.closing.by is not None:
            assert report.closing.role == scene.by


def test_both_sides_of_a_translation_are_known_for_one(captures: Captures, tmp_path: Path) -> None:
    """Captured on a router, each connection is there twice with other addresses; its numbers give it away."""
    pair = awkward.translated(awkward.packets(captures.near))
    with open_capture(awkward.write(tmp_path / "a.pcap", pair)) as capture:
        connections = sorted(follow(capture), key=lambda one: one.number)
    twins = Twins()
    found = {connection.server.endpoint[1] for connection in connections if twins.of(connection) is not None}
    assert found >= {scene.port for scene in NEAR_SCENES} - {7009, 7010, 7019}, (
        "all but refused, unanswered and IPv6"
    )
