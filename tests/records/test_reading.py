"""Files of others: packed, cut off, huge, dirty, or nothing that can be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from holdfast.records import reading
from holdfast.records.reading import NotReadable, beside, is_capture, read
from holdfast.records.sighting import Sighting
from tests.records.test_files import flow, tnet
from tests.records.told import NOON_S, legs, turn

LINE = '10.0.0.7 - - [28/Mar/2026:{h:02d}:{m:02d}:{s:02d} +0000] "POST /v1/messages HTTP/1.1" 200 900 "-" "a" {took:.3f}\n'


def everything(_: Sighting) -> bool:
    """Keep all."""
    return True


def line(after_s: int, took_s: float) -> str:
    """A line that ends so long after 10:18:21."""
    hours, rest = divmod(10 * 3600 + 18 * 60 + 21 + after_s, 3600)
    return LINE.format(h=hours, m=rest // 60, s=rest % 60, took=took_s)


def test_the_name_does_not_matter_the_content_does(tmp_path: Path) -> None:
    """A packed log called `.txt`, a HAR file called `.log`."""
    (tmp_path / "log.txt").write_bytes(gzip.compress(line(9, 2.0).encode()))
    (tmp_path / "har.log").write_text(
        json.dumps({"log": {"entries": [{"startedDateTime": "2026-03-28T10:18:21Z", "request": {}}]}})
    )
    assert read(tmp_path / "log.txt", NOON_S, everything).program == "nginx"
    assert read(tmp_path / "har.log", NOON_S, everything).units == "entry"


@pytest.mark.parametrize(
    "first",
    [
        "10:18:21.113 IP 203.0.113.7.443 > 192.0.2.4.51234: Flags [R.], seq 1, ack 200, win 0, length 0",
        "10:02:33,113 ERROR upstream connect error: connection reset by peer",
        "10:18:21 - LiteLLM Proxy:ERROR: peer closed connection",
        "9:5 a short time",
    ],
)
def test_a_time_of_day_begins_no_flow_file(tmp_path: Path, first: str) -> None:
    """A number, a colon and a number: so begin tcpdump's lines, many logs, and the flows of mitmproxy."""
    (tmp_path / "log").write_text(first + "\n")
    assert read(tmp_path / "log", NOON_S, everything).units == "line"


def test_flows_are_told_by_their_first_key(tmp_path: Path) -> None:
    """Whatever the file is called."""
    (tmp_path / "log").write_bytes(tnet(flow()))
    assert read(tmp_path / "log", NOON_S, everything).units == "flow"


def test_dirt_is_counted_with_its_first_line(tmp_path: Path) -> None:
    """Half lines, binary, other programs' banners: the rest is read all the same."""
    path = tmp_path / "access.log"
    path.write_bytes(
        line(1, 1).encode()
        + b"\n\xff\xfe\xfd half a li\n"
        + line(2, 1).encode()
        + b"=== rotated ===\n"
        + b"x" * 3_000_000
    )
    pile = read(path, NOON_S, everything)
    assert (len(pile.seen), pile.count, pile.dirt, pile.first_dirt) == (2, 5, 3, 3)


def test_a_packed_file_that_is_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    """And says that it ended early."""
    path = tmp_path / "access.log.gz"
    many = b"".join(line(n % 600, 1.0 + n / 7).encode() for n in range(3000))
    path.write_bytes(gzip.compress(many)[:-40])
    pile = read(path, NOON_S, everything)
    assert len(pile.seen) > 500 and "ended early" in pile.problem


@pytest.mark.parametrize("magic", reading.CAPTURES)
def test_captures_are_told_by_their_first_bytes(tmp_path: Path, magic: bytes) -> None:
    """They are for another room, packed or not."""
    path = tmp_path / "access.log"
    for content in (magic + b"\0" * 40, gzip.compress(magic + b"\0" * 40)):
        path.write_bytes(content)
        assert is_capture(path)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A program, a picture, a file that is gone."""
    path = tmp_path / "thing"
    path.write_bytes(b"\x7fELF\x02\x01\x01\0\0\0")
    with pytest.raises(NotReadable, match="neither text nor"):
        read(path, NOON_S, everything)
    with pytest.raises(NotReadable, match="cannot be read"):
        read(tmp_path / "gone", NOON_S, everything)


def test_what_was_named_is_said_again(tmp_path: Path) -> None:
    """Whoever typed it has to find it: a folder's long name is no secret, and a directory is called one."""
    place = tmp_path / "logs-of-2026-11-21T10h44m52s"
    place.mkdir()
    with pytest.raises(NotReadable) as refused:
        is_capture(place)
    assert str(refused.value) == f"{place} cannot be read: it is a directory; name the files in it"


def test_a_busy_log_keeps_only_what_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's traffic reaches the bound first, and our three requests are found behind it."""
    monkeypatch.setattr(reading, "MOST_KEPT", 60)
    turns = [turn(f"t{n}", NOON_S + 200 * n, took) for n, took in enumerate((41.7, 8.4, 17.3))]
    theirs = [line(n, 0.013).replace("/v1/messages", "/shop") for n in range(-3000, 0)]
    path = tmp_path / "access.log"
    path.write_text("".join([*theirs, line(41, 41.7), line(208, 8.4), theirs[0], line(417, 17.3)]))

    source = beside(path, legs(*turns), local_zone_s=0.0)

    assert source.clock.sure and "by 3 of 3" in source.clock.words
    assert {one.leg.turn_id for one in source.matched.matches} == {"t0", "t1", "t2"}
    assert len(source.pile.seen) <= 60 and source.pile.count == 3004


def test_files_of_windows_are_text_too(tmp_path: Path) -> None:
    """UTF-16 with a mark, and lines that end in CRLF."""
    path = tmp_path / "access.log"
    path.write_bytes(line(1, 1).replace("\n", "\r\n").encode("utf-16"))
    assert len(read(path, NOON_S, everything).seen) == 1


def test_what_fits_no_connection_names_its_file_too(tmp_path: Path) -> None:
    """Whoever shows a line that was put to a failure by its time says where it stands."""
    path = tmp_path / "nginx.log"
    path.write_text("".join(line(second, 1.0) for second in (5, 4000)))
    source = beside(path, legs(turn("t1", NOON_S, 2.0)), local_zone_s=0.0)
    assert [one.place for one in source.pile.seen] == ["nginx.log:1", "nginx.log:2"]
