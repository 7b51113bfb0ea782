"""The questions, in the order in which they are asked: from this machine outwards, the long ones last."""

from __future__ import annotations

from holdfast.probes import (
    connect,
    edge,
    egress,
    handshake,
    idle,
    link,
    mtu,
    path,
    ping,
    resolve,
    status,
    trickle,
    upload,
)
from holdfast.probes.asking import Question

QUESTIONS: dict[str, Question] = {
    one.NAME: one
    for one in (
        link,
        resolve,
        connect,
        handshake,
        edge,
        status,
        ping,
        path,
        mtu,
        upload,
        trickle,
        idle,
        egress,
    )
}
