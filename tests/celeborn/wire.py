"""What travels on the loopback, put together again: TCP streams from packets, and Celeborn's frames from streams.

Used by record.py, as root on Linux. The formats are those of docs/internals/celeborn.md; only as much is
read here as it takes to give a frame its name.
"""

import socket
import struct
import threading

FRAMES = {1: "chunk-fetch-success", 2: "chunk-fetch-failure", 3: "rpc-request", 4: "rpc-response", 5: "rpc-failure"}
FRAMES |= {9: "one-way-message", 11: "push-data", 12: "push-merged-data", 22: "heartbeat"}
MESSAGES = {
    1: "register-worker", 2: "heartbeat-from-worker", 3: "heartbeat-from-worker-response", 6: "request-slots",
    9: "request-slots-response", 16: "unregister-shuffle", 17: "unregister-shuffle-response", 18: "application-lost",
    19: "application-lost-response", 20: "heartbeat-from-application", 23: "check-quota", 24: "check-quota-response",
    26: "register-worker-response", 28: "reserve-slots", 29: "reserve-slots-response", 30: "commit-files",
    31: "commit-files-response", 32: "destroy", 33: "destroy-response", 40: "one-way-message-response",
    49: "heartbeat-from-application-response", 51: "open-stream", 52: "stream-handler", 53: "check-workers-available",
    54: "check-workers-available-response", 60: "buffer-stream-end", 63: "chunk-fetch-request", 80: "batch-open-stream",
    81: "batch-open-stream-response", 87: "batch-unregister-shuffles", 88: "batch-unregister-shuffle-response",
    89: "revise-lost-shuffles", 90: "revise-lost-shuffles-response", 91: "push-merged-data-split-partition-info",
    96: "register-application-info",
}  # fmt: skip
CHECK = b"RpcEndpointVerifier$CheckExistence"
TRANSPORT = b"org.apache.celeborn.common.network.protocol.TransportMessage"
# The end of a class's description, in the Java form; the first field, the number of the message, follows.
DESCRIBED = b"\x78\x70"


class Capture:
    """All packets of the loopback to or from some ports, as (source, destination, segments by number)."""

    def __init__(self, ports):
        self.ports, self.flows, self.order = set(ports), {}, []
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 1 << 28)  # SO_RCVBUFFORCE
        self.socket.bind(("lo", 0x0800))
        self.socket.settimeout(0.2)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        while not self.stopped.is_set():
            try:
                packet, address = self.socket.recvfrom(1 << 17)
            except TimeoutError:
                continue
            if address[2] != socket.PACKET_OUTGOING:  # each is seen twice
                self.take(packet)

    def take(self, packet):
        if packet[9] != socket.IPPROTO_TCP:
            return
        start = (packet[0] & 15) * 4
        source, target, number = struct.unpack_from(">HHI", packet, start)
        if not {source, target} & self.ports:
            return
        flags = packet[start + 13]
        data = packet[start + (packet[start + 12] >> 4) * 4 :]
        key = (source, target)
        if flags & 2:
            self.flows[key] = (number + 1, {})
        elif data and key in self.flows:
            first, segments = self.flows[key]
            self.order.append((key, (number - first) % 2**32, len(data)))
            segments.setdefault((number - first) % 2**32, data)

    def stop(self):
        """Gives each direction of each connection as bytes, up to the first gap."""
        self.stopped.set()
        self.thread.join()
        self.socket.close()
        streams = {}
        for key, (_, segments) in self.flows.items():
            whole = bytearray()
            for at in sorted(segments):
                if at > len(whole):
                    break
                whole += segments[at][len(whole) - at :]
            streams[key] = bytes(whole)
        return streams


class Frame:
    """One frame of a stream: `raw` is all of it."""

    def __init__(self, raw, header, body, kind):
        self.raw, self.header, self.body, self.kind = raw, header, body, kind

    @property
    def request(self):
        """The number that request and reply share; a chunk's place in its stream where there is none."""
        if self.kind in (1, 2):
            return self.header[:20]
        return self.header[:8] if self.kind in (3, 4, 5, 11, 12) else b""


def frames(stream):
    at = 0
    while at + 9 <= len(stream):
        header, kind, body = struct.unpack_from(">IbI", stream, at)
        end = at + 9 + header + body
        if end > len(stream):
            break
        yield Frame(stream[at:end], stream[at + 9 : at + 9 + header], stream[at + 9 + header : end], kind)
        at = end


def message_of(body):
    """The number of the message in a body, in any of its forms, or None."""
    java = body.find(TRANSPORT)
    if java >= 0:
        return struct.unpack_from(">I", body, body.index(DESCRIBED, java) + 2)[0]
    marked = body[1:] if body[:1] == b"\xff" else body
    if len(marked) >= 8:
        number, length = struct.unpack_from(">II", marked)
        if length == len(marked) - 8:
            return number
    return None


def form_of(body):
    """Which of the forms a message has: Java's, marked, bare, or none."""
    if body.find(b"\xac\xed\x00\x05") >= 0:
        return "java"
    if body[:1] == b"\xff":
        return "marked"
    return "bare" if message_of(body) is not None else "none"


def name_of(frame):
    if frame.kind in (3, 4, 9):
        if CHECK in frame.body:
            return "check-existence"
        number = message_of(frame.body)
        if number is not None:
            return MESSAGES.get(number, f"message-{number}")
    return FRAMES.get(frame.kind, f"frame-{frame.kind}")
