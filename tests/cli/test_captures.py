"""`holdfast captures`, as a person and a program see it."""

from __future__ import annotations

import gzip
import json
import os
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from holdfast.captures.connections import follow
from holdfast.captures.telling import Twins, block, conclude, story
from holdfast.cli.main import main
from holdfast.flight import plain_files
from tests.captures.packets import Host, Made, Talk, as_packets, pcap, pcapng


def typed(*arguments: object, stdin: bytes | None = None, columns: int = 100) -> Result:
    return CliRunner().invoke(
        main, ["captures", *map(str, arguments)], input=stdin, env={"COLUMNS": str(columns), "TZ": "UTC"}
    )


def conversation(number: int = 0) -> Talk:
    """A connection that has carried a request and its answer."""
    talk = Talk(client_host=Host("10.0.0.2", 40000 + number, 1000 * number + 1))
    talk.at_ns += number * 1_000_000
    talk.handshake()
    talk.ask_and_answer()
    return talk


def forgotten() -> list[Made]:
    """A NAT has forgotten a connection; another one ended well."""
    one, other = conversation(), conversation(1)
    one.close()
    other.client(b"GET /next HTTP/1.1\r\n\r\n", after=350)
    other.server(flags="R", seq=other.server_host.seq, ttl=62, ip_id=0, window=0, after=0.002)
    return one.packets + other.packets


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def words(result: Result) -> str:
    """What was printed, its line breaks taken out."""
    return " ".join(result.output.split())


def test_the_worst_comes_first_and_the_good_is_summed_up(tmp_path: Path) -> None:
    """One block per broken connection, one line for all the others."""
    result = typed(write(tmp_path / "a.pcap", pcap(forgotten())))

    said = words(result)
    assert result.exit_code == 0
    assert "a.pcap: pcap, 19 packets, 2 TCP connections, 11-14 " in said
    assert "#2 10.0.0.2:40001 > 192.0.2.10:443 reset by the server after 350 s of silence" in said
    assert "likely a box on the path made this reset" in said
    assert "settle a TCP keepalive well below 350 s" in said
    assert "1 closed in order, first by the client" in said
    assert "#1 " not in said


def test_all_of_them_on_request(tmp_path: Path) -> None:
    """`--all` tells the good ones, too, behind the bad."""
    said = typed("--all", write(tmp_path / "a.pcap", pcap(forgotten()))).output

    assert said.index("#2 10.0.0.2:40001") < said.index("#1 10.0.0.2:40000")


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_no_line_is_longer_than_the_terminal(tmp_path: Path, columns: int) -> None:
    """Long sentences are wrapped under their own column."""
    result = typed("--all", write(tmp_path / "a.pcap", pcap(forgotten())), columns=columns)

    told = [line for line in result.output.splitlines() if not line.startswith(str(tmp_path))]
    assert max(map(len, told)) <= columns


def test_json_has_every_connection(tmp_path: Path) -> None:
    """One object per line; what is documented is there."""
    result = typed("--json", write(tmp_path / "a.pcapng", pcapng(forgotten())))

    found = sorted((json.loads(line) for line in result.stdout.splitlines()), key=lambda one: one["number"])
    assert [one["proper"] for one in found] == [True, False]
    ended, verdict = found[1]["ended"], found[1]["verdict"]
    assert (ended["how"], ended["mechanism"], ended["by"]) == ("reset", "rst", "server")
    assert (round(ended["quiet_before_trigger_s"]), verdict["grade"], verdict["certain"]) == (
        350,
        "lost_state",
        True,
    )
    assert found[1]["client"]["address"] == "10.0.0.2"
    assert found[0]["resets"] == []


def test_every_json_field_is_documented(tmp_path: Path) -> None:
    """docs/captures.md names each of them."""
    page = (Path(__file__).parents[2] / "docs" / "captures.md").read_text(encoding="utf-8")
    result = typed("--json", write(tmp_path / "a.pcap", pcap(forgotten())))
    found = json.loads(result.stdout.splitlines()[-1])

    for value in (found, found["client"], found["ended"], found["verdict"], found["resets"][0]):
        for name in value:
            assert f"`{name}`" in page, name


def test_only_one_port(tmp_path: Path) -> None:
    """And a hint where that port is nobody's."""
    path = write(tmp_path / "a.pcap", pcap(forgotten()))

    assert typed("--port", 40001, "--json", path).stdout.count("\n") == 1
    nothing = typed("--port", 8000, path)
    assert nothing.exit_code == 1
    assert "none from or to port 8000, 19 TCP packets of other ports; leave --port out" in words(nothing)


def test_several_files_and_gzip(tmp_path: Path) -> None:
    """Each under its own name."""
    one = write(tmp_path / "a.pcap", pcap(forgotten()))
    other = write(tmp_path / "b.pcapng.gz", gzip.compress(pcapng(forgotten())))

    result = typed(one, other)

    assert result.exit_code == 0
    assert "a.pcap: pcap, 19 packets" in result.output
    assert "b.pcapng.gz: pcapng, gzip, 19 packets" in result.output


def test_from_standard_input() -> None:
    """`tcpdump -w - | holdfast captures -`."""
    result = typed("-", stdin=pcap(forgotten()))

    assert result.exit_code == 0
    assert result.output.startswith("-: pcap, 19 packets")


def test_a_cut_file_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    """And said to be cut."""
    result = typed("--all", write(tmp_path / "a.pcap", pcap(forgotten())[:-10]))

    assert result.exit_code == 0
    assert "note: it was cut inside packet 19" in result.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"12:00:00.1 IP 10.0.0.2.4 > 10.0.0.3.80: Flags [S]\n", "tcpdump -w FILE"),
        (b"", "it is empty"),
        (b"(\xb5/\xfdxxxx", "zstd -d FILE"),
    ],
)
def test_what_is_no_capture_is_refused_with_advice(tmp_path: Path, content: bytes, said: str) -> None:
    """The error ends with what to do."""
    result = typed(write(tmp_path / "a", content))

    assert result.exit_code == 1
    assert said in words(result)


def test_a_pipe_is_read_and_one_without_a_writer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`holdfast captures <(zcat trace.pcap.gz)`; and a terminal or a disk is no capture."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(pcap(forgotten()),))
    writer.start()
    assert "2 TCP connections" in typed(tmp_path / "pipe").output
    writer.join(10)

    monkeypatch.setattr(plain_files, "WRITER_S", 0.05)
    assert "a pipe that nobody writes to" in typed(tmp_path / "pipe").output
    assert "a device, not a regular file" in typed("/dev/zero").output


def test_a_missing_file_a_directory_and_the_rest(tmp_path: Path) -> None:
    """One bad name does not keep the others from being told."""
    good = write(tmp_path / "a.pcap", pcap(forgotten()))

    assert "there is no file" in typed(tmp_path / "none").output
    assert "is a directory" in typed(tmp_path).output
    both = typed(tmp_path / "none", good)
    assert both.exit_code == 1
    assert "there is no file" in both.output
    assert "2 TCP connections" in both.output


def test_a_hostile_name_does_nothing_to_the_terminal(tmp_path: Path) -> None:
    """File names come from elsewhere, too."""
    result = typed(write(tmp_path / "a\x1b[2J.pcap", pcap(forgotten())))

    assert "\x1b" not in result.output
    assert "a\\x1b[2J.pcap" in result.output


def test_both_sides_of_a_translation_are_one(tmp_path: Path) -> None:
    """A router's capture has the connection twice, with other addresses and the same numbers."""
    inside = conversation()
    outside = Talk(client_host=Host("203.0.113.5", 61000, 1), at_ns=inside.packets[0].at_ns + 50_000)
    outside.handshake()
    outside.ask_and_answer()

    said = words(typed("--all", write(tmp_path / "a.pcap", pcap(inside.packets + outside.packets))))

    assert "this is #1 again, seen with other addresses" in said


def test_a_story_can_be_merged_with_others() -> None:
    """Lines with the seconds since a turn began, and who saw it."""
    packets = forgotten()
    twins = Twins()
    reports = [conclude(one, twins.of(one)) for one in follow(as_packets(packets))]
    broken = next(report for report in reports if not report.proper)

    lines = story(broken, "capture client.pcap", packets[0].at_ns - 5_000_000_000)

    assert [line.name for line in lines] == ["Opened", "Silence", "Ended", "Reset"]
    assert {line.by for line in lines} == {"capture client.pcap"}
    assert 5.0 <= lines[0].at_s < 6
    assert lines == sorted(lines, key=lambda line: line.at_s)
    assert "a box on the path" in lines[-1].text
    assert all(line.isprintable() for line in block(broken))
