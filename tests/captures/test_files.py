"""Capture files of every kind and in every state of repair."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import pytest

from holdfast.captures import files
from holdfast.captures.files import Capture, NotACapture, capture_from, open_capture
from tests.captures import packets as make


def talk() -> list[make.Made]:
    one = make.Talk()
    one.handshake()
    one.ask_and_answer()
    one.close()
    return one.packets


def read(data: bytes) -> tuple[Capture, list[tuple[int, bytes, int, int]]]:
    """(at_ns, bytes, original length, view) of each packet."""
    capture = capture_from(io.BytesIO(data))
    found = [
        (at, buffer[start : start + size], original, view)
        for at, _, buffer, start, size, original, view in capture
    ]
    return capture, found


class Dribble(io.BytesIO):
    """A pipe that gives seven bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(7)

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read(7)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [True, False])
def test_pcap_of_both_byte_orders_and_clocks(order: str, nanoseconds: bool) -> None:
    """A capture of any machine is read on any other."""
    made = talk()

    capture, found = read(make.pcap(made, order=order, nanoseconds=nanoseconds))

    tick = 1 if nanoseconds else 1000
    assert [at for at, *_ in found] == [one.at_ns // tick * tick for one in made]
    assert [frame for _, frame, *_ in found] == [make.ethernet(one) for one in made]
    assert (capture.form, capture.packets, capture.notes) == ("pcap", len(made), [])


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_of_both_byte_orders(order: str) -> None:
    """The section's byte-order magic counts."""
    made = talk()

    capture, found = read(make.pcapng(made, order=order))

    assert [at for at, *_ in found] == [one.at_ns for one in made]
    assert [frame for _, frame, *_ in found] == [make.ethernet(one) for one in made]
    assert (capture.form, capture.packets, capture.notes) == ("pcapng", len(made), [])


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_what_comes_in_drops_is_read_as_well(form: str) -> None:
    """A pipe hands over what it has; packets are put together across reads."""
    made = talk()
    data = make.pcap(made) if form == "pcap" else make.pcapng(made)

    capture = capture_from(Dribble(data))

    assert [buffer[start : start + size] for _, _, buffer, start, size, _, _ in capture] == [
        make.ethernet(one) for one in made
    ]
    assert capture.notes == []


def test_gzip_is_unpacked_unasked() -> None:
    """Captures are sent around compressed."""
    made = talk()

    capture, found = read(gzip.compress(make.pcapng(made)))

    assert len(found) == len(made)
    assert capture.form == "pcapng, gzip"


def test_a_cut_gzip_gives_what_is_there() -> None:
    """A download that broke off is said to be one, and its packets are told."""
    made = talk() * 200
    data = gzip.compress(make.pcap(made), compresslevel=0)

    capture, found = read(data[: len(data) // 2])

    assert 0.4 * len(made) < len(found) < 0.6 * len(made)
    assert any("gzip stream ends in the middle" in note for note in capture.notes)


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_a_file_cut_inside_a_packet_gives_the_rest_and_says_so(form: str) -> None:
    """The last packet is there in part; its head is enough for TCP."""
    made = talk()
    data = make.pcap(made) if form == "pcap" else make.pcapng(made)

    capture, found = read(data[:-8])

    assert len(found) == len(made)
    assert found[-1][1] == make.ethernet(made[-1])[: len(found[-1][1])]
    assert any(f"cut inside packet {len(made)}" in note for note in capture.notes)


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_no_cut_breaks_the_reader(form: str) -> None:
    """Wherever the file ends, what is whole is read, and nothing is invented."""
    made = talk()[:4]
    data = make.pcap(made) if form == "pcap" else make.pcapng(made)
    whole = [make.ethernet(one) for one in made]

    for end in range(28, len(data)):
        _, found = read(data[:end])

        assert len(found) <= len(made)
        assert [frame for _, frame, *_ in found[:-1]] == whole[: max(len(found) - 1, 0)]


def test_a_snap_length_is_counted_and_said() -> None:
    """Lengths are those of the wire, bytes those that were kept."""
    made = talk()

    capture, found = read(make.pcap(made, snaplen=60))

    assert {len(frame) for _, frame, *_ in found} == {60}
    assert found[3][2] == len(make.ethernet(made[3]))
    assert capture.notes == [f"{len(made)} packets kept in part only (snap length)"]


def test_clocks_of_pcapng_interfaces() -> None:
    """if_tsresol counts in powers of ten or two, if_tsoffset in seconds; without them, microseconds."""
    frame = make.ethernet(talk()[0])
    order = "<"

    def clocked(resolution: int | None, offset: int = 0) -> bytes:
        options = b"" if resolution is None else make.option(order, 9, bytes([resolution]))
        options += make.option(order, 14, struct.pack("<q", offset)) if offset else b""
        return make.interface(order, options=options)

    data = make.section() + clocked(None) + clocked(9) + clocked(3, 1000) + clocked(0x80 | 10) + clocked(12)
    for number, ticks in enumerate((5_000_000, 5_000_000_000, 5_000, 5 << 10, 5_000_000_000_000)):
        data += make.enhanced(order, number, ticks, frame)

    capture, found = read(data)

    second = 1_000_000_000
    assert [at for at, *_ in found] == [5 * second, 5 * second, 1005 * second, 5 * second, 5 * second]
    assert [view >> 2 for *_, view in found] == [0, 1, 2, 3, 4]
    assert len(capture.interfaces) == 5


def test_blocks_that_hold_no_packet_are_passed_over() -> None:
    """Key logs, names, comments and what was invented since are none of our business."""
    order, frame = "<", make.ethernet(talk()[0])
    secrets = make.block(order, 10, struct.pack("<II", 0x544C534B, 5) + b"CLIEN" + bytes(3))
    unknown = make.block(order, 0x0BAD, b"whatever")
    comment = (
        make.option(order, 1, b"hello")
        + make.option(order, 2, struct.pack("<I", 2))
        + make.option(order, 0, b"")
    )
    statistics = make.block(
        order, 5, struct.pack("<III", 0, 0, 0) + make.option(order, 5, struct.pack("<Q", 17))
    )
    data = make.section() + secrets + make.interface() + unknown
    data += make.enhanced(order, 0, 7_000_000, frame, options=comment) + statistics

    capture, found = read(data)

    assert [(at, taken, view & 3) for at, taken, _, view in found] == [(7_000_000_000, frame, files.OUTGOING)]
    assert capture.dropped == 17
    assert any("lost 17 packets" in note for note in capture.notes)


def test_several_sections_of_different_machines() -> None:
    """Files joined by `cat` are one pcapng of two sections, each with its own byte order and interfaces."""
    made = talk()

    capture, found = read(make.pcapng(made[:3], order="<") + make.pcapng(made[3:], order=">"))

    assert [frame for _, frame, *_ in found] == [make.ethernet(one) for one in made]
    assert {view >> 2 for *_, view in found} == {0, 1}
    assert len(capture.interfaces) == 2


def test_simple_and_old_packet_blocks() -> None:
    """Old writers' blocks are read; those without a time are said to have none."""
    order, frame = "<", make.ethernet(talk()[0])
    old = make.block(order, 2, struct.pack("<HHIIII", 0, 3, 0, 9_000_000, len(frame), len(frame)) + frame)
    simple = make.block(order, 3, struct.pack("<I", len(frame)) + frame)

    capture, found = read(make.section() + make.interface() + old + simple)

    assert [(at, taken) for at, taken, *_ in found] == [(9_000_000_000, frame)] * 2
    assert any("1 packet without a time" in note for note in capture.notes)


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_damage_ends_the_reading_and_is_placed(form: str) -> None:
    """A length that cannot be is not believed, and memory is not given for it."""
    made = talk()
    data = make.pcap(made) if form == "pcap" else make.pcapng(made)
    after = len(make.pcap(made[:5])) if form == "pcap" else len(make.pcapng(made[:5]))
    bad = data[:after] + b"\xff" * 16 + data[after + 16 :]

    capture, found = read(bad)

    assert len(found) == 5
    assert any(f"damaged at byte {after}" in note for note in capture.notes)


def test_hostile_bytes_end_in_a_note() -> None:
    """Every byte of a small file turned over, one at a time: no crash, and never more packets than there are."""
    made = talk()[:3]
    for data in (make.pcap(made), make.pcapng(made)):
        for at in range(4, len(data)):
            broken = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
            try:
                _, found = read(broken)
            except NotACapture:
                continue
            assert len(found) <= 4


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "it is empty"),
        (b"\x28\xb5\x2f\xfd....", "zstd -d"),
        (b'{"log": {"version": "1.2"}}', "it is JSON"),
        (b"12:00:00.000000 IP 10.0.0.2.4000 > 10.0.0.3.80: Flags [S], seq 1\n", "text as tcpdump prints it"),
        (b"CLIENT_RANDOM 00", "key log"),
        (b"SQLite format 3\x00", "holdfast flights"),
        (b"hello\n", "tcpdump -w FILE"),
        (bytes(range(256)), "neither pcap nor pcapng"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "cut inside its header"),
        (b"\x1f\x8b\x08\x00", "cut before the first byte"),
    ],
)
def test_what_is_no_capture_is_told_what_it_is(head: bytes, said: str) -> None:
    """And what to do with it."""
    with pytest.raises(NotACapture, match=said):
        capture_from(io.BytesIO(head))


def test_an_empty_capture_says_that_nothing_matched() -> None:
    """A header without packets is what a wrong filter leaves."""
    capture, found = read(make.pcap([]))

    assert found == []
    assert any("it holds no packet" in note for note in capture.notes)


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    """And closed after."""
    path = tmp_path / "a.pcap"
    path.write_bytes(make.pcap(talk()))

    with open_capture(path) as capture:
        assert sum(1 for _ in capture) == len(talk())
    assert capture.source.closed
