#!/usr/bin/env python3
"""Records what a stock client and the stock servers say to each other, once of each kind, as golden/CLIENT/*.bin.

Run by hand, as root, when a version of the client is added: `./dev celeborn_record`. A few tiny jobs run against
Java servers while all packets of the loopback to their ports are kept (wire.py). Of each kind of frame, in each
direction and each variant that matters, the first that is small is written; index.tsv says what each is.
The Rust crate decodes them and encodes them to the same bytes.
"""

import argparse
import shutil
import signal
import socket
import struct
import sys
import tempfile
from pathlib import Path

import cases
import servers
import wire
from install import Place
from spark import BASE, CELEBORN, Spark

HERE = Path(__file__).parent
# What a frame may have to be kept at all, and what all may have, bytes. Smaller ones are preferred.
SMALL, FRAME_MAX, ALL_MAX = 4_096, 32_768, 300_000
KINDS = ("rpc", "push", "fetch", "replicate")
# Frames soon after each other, and the end of a shuffle within seconds.
QUICK = {
    "spark.sql.shuffle.partitions": "2",
    "spark.celeborn.client.shuffle.expired.checkInterval": "1s",
    "spark.celeborn.client.application.heartbeatInterval": "1s",
}
# A push buffer of one row makes each row a push of its own.
TINY = {"spark.celeborn.client.push.buffer.max.size": "256", "spark.celeborn.client.push.buffer.initial.size": "256"}
JOBS = [
    ("group_by", {"rows": 40, "keys": 7}, {}),
    ("repartition", {"rows": 80, "parts": 2}, {**cases.TWO, **TINY, **cases.NONE}),
    ("repartition", {"rows": 80, "parts": 2}, {**TINY, **cases.NONE}),
    ("skew_plan", {"rows": 20_000}, {**cases.SKEW, "spark.sql.adaptive.skewJoin.skewedPartitionThresholdInBytes": "16k",
                                    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "64k"}),  # fmt: skip
    ("local_reader", {"rows": 2_000}, cases.LOCAL),
    ("repartition", {"rows": 9_000, "width": 512, "parts": 2}, cases.SOFT),
    ("repartition", {"rows": 9_000, "width": 512, "parts": 2}, cases.HARD),
    ("repartition", {"rows": 300, "parts": 2}, {"spark.celeborn.client.shuffle.rangeReadFilter.enabled": "true"}),
    ("twice", {"rows": 200, "action": "lose-files"}, {**cases.RERUN, **cases.IMPATIENT}),
    ("forget", {}, {}),
]
# Messages of which one with two copies is kept beside one without.
BY_COPIES = "request-slots request-slots-response reserve-slots commit-files commit-files-response".split()


def parts_of(port, from_client):
    """Who speaks to whom on a port."""
    client, server = {
        "master": ("driver", "master"),
        "rpc": ("driver", "worker"),
        "push": ("executor", "worker"),
        "fetch": ("executor", "worker"),
        "replicate": ("worker", "peer"),
    }[port]
    return (client, server) if from_client else (server, client)


def variant_of(frame, name, copies):
    """What makes two frames of one name differ in what a decoder must do."""
    if name in ("push-data", "push-merged-data"):
        return "replica" if frame.header[8] else "primary"
    if frame.kind == 4 and wire.message_of(frame.body) is None:
        return f"status-{frame.body[0]}" if len(frame.body) == 1 else f"{min(len(frame.body), 48)}-bytes"
    if name in ("open-stream", "batch-open-stream"):
        return "whole" if b"\xff\xff\xff\xff\x07" in frame.body else "maps"
    return copies if name in BY_COPIES else ""


def keep(best, streams, ports, copies):
    """Adds the frames of a job to those that are kept, by (port, from the client, name, what it answers, variant)."""
    for (source, target), stream in sorted(streams.items()):
        from_client = target in ports
        port = ports[target if from_client else source]
        asked = {}
        if not from_client:
            back = streams.get((target, source), b"")
            asked = {frame.request: wire.name_of(frame) for frame in wire.frames(back) if frame.request}
            asked |= chunk_requests(back)
        for frame in wire.frames(stream):
            name = wire.name_of(frame)
            if name in ("register-worker", "heartbeat-from-worker") or "worker" in asked.get(frame.request, "").split("-from-"):
                continue
            question = asked.get(frame.request, "")
            if frame.kind in (4, 5) and wire.message_of(frame.body) is None:
                name = f"{question or 'unknown'}-{'reply' if frame.kind == 4 else 'failure'}"
            key = (port, from_client, name, question, variant_of(frame, name, copies))
            if key not in best or len(best[key].raw) > max(SMALL, len(frame.raw)):
                best[key] = frame


def chunk_requests(stream):
    """Chunk replies carry the slice of their request, as four numbers."""
    found = {}
    for frame in wire.frames(stream):
        if wire.message_of(frame.body) == 63:
            found[slice_of(frame.body[8:])] = "chunk-fetch-request"
    return found


def slice_of(message):
    """The four numbers of the slice in a request, packed as they are in the reply's header."""
    values, at, inner = [0, 0, 0, 0], 0, message[2:]
    while at < len(inner):
        field, value, shift = inner[at] >> 3, 0, 0
        while True:
            at += 1
            value |= (inner[at] & 127) << shift
            shift += 7
            if inner[at] < 128:
                break
        values[field - 1] = value
        at += 1
    return struct.pack(">qiii", *values)


def write(frames, folder):
    """Files and their index; gives the bytes in all."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    order = ["master", "rpc", "push", "replicate", "fetch"]
    rows, total = [], 0
    sequence = sorted(frames.items(), key=lambda item: (order.index(item[0][0]), item[0][3] or item[0][2], not item[0][1], item[0][4]))
    for number, ((port, from_client, name, question, variant), frame) in enumerate(sequence, 1):
        sender, receiver = parts_of(port, from_client)
        title = f"{number:02}-{sender}-{receiver}-{name}{'-' + variant if variant else ''}.bin"
        (folder / title).write_bytes(frame.raw)
        total += len(frame.raw)
        message = wire.message_of(frame.body) if frame.kind in (3, 4, 9) else None
        rows.append([title, port, str(frame.kind), wire.FRAMES.get(frame.kind, "?"), wire.form_of(frame.body) if message is not None or b"\xac\xed" in frame.body[:200] else "none",
                     "" if message is None else str(message), question, str(len(frame.raw))])  # fmt: skip
    head = ["file", "port", "frame", "frame_name", "form", "message", "answers", "bytes"]
    (folder / "index.tsv").write_text("".join("\t".join(row) + "\n" for row in [head, *rows]))
    return total


def public(frames):
    """Without the frames that are too long or hold something of this machine: paths in the texts of errors."""
    # Wherever this checkout and its user's things are: the first part of such a path is enough to find one.
    here = {f"/{path.resolve().parts[1]}" for path in (Path(__file__), Path.home())}
    private = [socket.gethostname() + ":", *here, tempfile.gettempdir() + "/", "dunlin-celeborn-"]
    for key, frame in frames.items():
        found = [word for word in private if word.encode() in frame.raw]
        if found or len(frame.raw) > FRAME_MAX:
            print(f"left out {key}: {', '.join(found) or len(frame.raw)}")
    return {key: f for key, f in frames.items() if len(f.raw) <= FRAME_MAX and not any(w.encode() in f.raw for w in private)}


def record(place, line, client, version, folder):
    ports = servers.free_ports(12)
    on = servers.Java(place.servers(version), folder / "servers", 2, {"celeborn.worker.shuffle.partitionSplit.min": "64k"}, [ports[:6], ports[6:]])
    kinds = {on.master_port: "master"} | {port: kind for own in (ports[:6], ports[6:]) for kind, port in zip(KINDS, own)}
    spark, best = Spark(place, line, client, folder), {}
    try:
        for number, (job, args, conf) in enumerate(JOBS):
            settings = {**BASE, **CELEBORN, **QUICK, "spark.celeborn.master.endpoints": on.endpoint, **conf}
            request = {"master": "local[1,4]", "app": f"golden {number}", "conf": settings, "job": job, "args": args}
            capture = wire.Capture(kinds)
            try:
                spark.run(request, 120, lambda action: on.lose_files())
            finally:
                streams = capture.stop()
            keep(best, streams, kinds, "two-copies" if conf.get(cases.COPIES) else "")
    finally:
        spark.stop()
        on.stop()
    return public(best)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--spark", required=True, choices=("3", "4"))
    parser.add_argument("--client", required=True)
    parser.add_argument("--server-version", help="release of the Java servers (the client's)")
    arguments = parser.parse_args()
    # However this ends, the JVMs that it started end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="dunlin-celeborn-") as name:
        version = arguments.server_version or arguments.client
        frames = record(Place(arguments.place), arguments.spark, arguments.client, version, Path(name))
    total = write(frames, HERE / "golden" / f"{arguments.client}-spark-{arguments.spark}")
    print(f"{len(frames)} kinds of frames, {total} bytes")
    if total > ALL_MAX:
        sys.exit(f"more than {ALL_MAX} bytes")


if __name__ == "__main__":
    main()
