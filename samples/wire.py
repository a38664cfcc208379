"""Builds packets, TLS messages and capture files for craft.py.

Sources: RFC 9293 and RFC 768 (checksums), RFC 8446, RFC 5246, RFC 6101 and the
SSL 2 draft (messages), draft-ietf-opsawg-pcap and -pcapng (files). Everything
that looks random is a SHA-256 of a label, so that files never change.
"""

import hashlib
import ipaddress
import struct

# 2026-03-02 09:00:00 UTC.
START = 1_772_442_000
CLIENT, SERVER = "c", "s"
SIGALG_PSS, SIGALG_SHA1 = 0x0804, 0x0201
X25519, P256 = 29, 23


def noise(label, length):
    out = b""
    while len(out) < length:
        out += hashlib.sha256(f"{label}/{len(out)}".encode()).digest()
    return out[:length]


def u8(data):
    return struct.pack(">B", len(data)) + data


def u16(data):
    return struct.pack(">H", len(data)) + data


def u24(data):
    return struct.pack(">I", len(data))[1:] + data


def shorts(values):
    return b"".join(struct.pack(">H", value) for value in values)


# Certificates: well-formed DER whose signature is noise.

def der(tag, *parts):
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def certificate(name):
    rsa = der(0x30, bytes.fromhex("06092a864886f70d010101"), b"\x05\x00")
    sha256_rsa = der(0x30, bytes.fromhex("06092a864886f70d01010b"), b"\x05\x00")

    def who(text):
        common_name = der(0x30, bytes.fromhex("0603550403"), der(0x0C, text.encode()))
        return der(0x30, der(0x31, common_name))

    modulus = b"\x00\xc1" + noise(name + "modulus", 254) + b"\x01"
    key = der(0x30, der(0x02, modulus), der(0x02, b"\x01\x00\x01"))
    alt = der(0x30, der(0x82, name.encode()))
    extensions = der(0xA3, der(0x30, der(0x30, bytes.fromhex("0603551d11"), der(0x04, alt))))
    body = der(
        0x30,
        der(0xA0, b"\x02\x01\x02"),
        der(0x02, b"\x01" + noise(name + "serial", 7)),
        sha256_rsa,
        who("Crafted Root"),
        der(0x30, der(0x17, b"260101000000Z"), der(0x17, b"270101000000Z")),
        who(name),
        der(0x30, rsa, der(0x03, b"\x00", key)),
        extensions,
    )
    return der(0x30, body, sha256_rsa, der(0x03, b"\x00", noise(name + "signature", 256)))


# TLS.

def record(kind, version, body):
    return struct.pack(">BH", kind, version) + u16(body)


def message(kind, body):
    return bytes([kind]) + u24(body)


def extension(kind, body):
    return struct.pack(">H", kind) + u16(body)


def sni(name):
    return extension(0, u16(b"\x00" + u16(name.encode())))


def client_hello(label, suites, version=0x0303, name=None, versions=(), groups=(X25519, P256),
                 sigalgs=(SIGALG_PSS, 0x0403, 0x0401), renegotiation=True, compressions=b"\x00"):
    extensions = b""
    if name:
        extensions += sni(name)
    if version >= 0x0301:
        extensions += extension(10, u16(shorts(groups)))
        extensions += extension(11, u8(b"\x00"))
    if version >= 0x0303:
        extensions += extension(13, u16(shorts(sigalgs)))
    if renegotiation:
        extensions += extension(0xFF01, b"\x00")
    if versions:
        extensions += extension(43, u8(shorts(versions)))
        extensions += extension(51, u16(struct.pack(">H", X25519) + u16(noise(label + "cs", 32))))
    body = struct.pack(">H", version) + noise(label + "client", 32)
    body += u8(noise(label + "session", 32) if versions else b"")
    body += u16(shorts(suites)) + u8(compressions)
    if extensions:
        body += u16(extensions)
    return record(22, 0x0301 if version > 0x0300 else version, message(1, body))


def server_hello(label, suite, version=0x0303, tls13=False, sentinel=b"", compression=0,
                 renegotiation=True):
    extensions = b""
    if tls13:
        extensions += extension(43, b"\x03\x04")
        extensions += extension(51, struct.pack(">H", X25519) + u16(noise(label + "ss", 32)))
    elif renegotiation:
        extensions += extension(0xFF01, b"\x00")
    random = noise(label + "server", 32 - len(sentinel)) + sentinel
    session = noise(label + "session", 32) if tls13 else noise(label + "fresh", 32)
    body = struct.pack(">H", version) + random + u8(session)
    body += struct.pack(">HB", suite, compression)
    if extensions:
        body += u16(extensions)
    return message(2, body)


def signed(version, params, sigalg, label):
    scheme = struct.pack(">H", sigalg) if version >= 0x0303 else b""
    return message(12, params + scheme + u16(noise(label + "sig", 256)))


def ecdhe(label, version=0x0303, sigalg=SIGALG_PSS, curve=X25519):
    size = {X25519: 32, P256: 65}[curve]
    point = noise(label + "point", size)
    if curve == P256:
        point = b"\x04" + point[1:]
    return signed(version, struct.pack(">BH", 3, curve) + u8(point), sigalg, label)


def dhe(label, bits, version=0x0303, sigalg=SIGALG_PSS, anonymous=False):
    prime = b"\xff" + noise(label + "prime", bits // 8 - 2) + b"\xff"
    params = u16(prime) + u16(b"\x02") + u16(noise(label + "ys", bits // 8))
    return message(12, params) if anonymous else signed(version, params, sigalg, label)


def handshake12(label, hello, suite, name="api.example", version=0x0303, exchange=b"",
                certified=True, data=True, **server):
    """A whole handshake up to TLS 1.2, then application data both ways."""
    flight = server_hello(label, suite, version=version, **server)
    if certified:
        flight += message(11, u24(u24(certificate(name))))
    flight += exchange + message(14, b"")
    if suite >= 0xC000:
        keys = u8(noise(label + "cke", 32))
    else:
        keys = noise(label + "cke", 256)
        # SSL 3 sends the encrypted secret without its length (RFC 6101 section 5.6.7.1).
        keys = keys if version == 0x0300 else u16(keys)
    finished = record(20, version, b"\x01")
    sealed = [record(22, version, noise(label + side, 40)) for side in "cs"]
    talk = [
        (CLIENT, hello),
        (SERVER, record(22, version, flight)),
        (CLIENT, record(22, version, message(16, keys)) + finished + sealed[0]),
        (SERVER, finished + sealed[1]),
    ]
    if data:
        talk += [(CLIENT, record(23, version, noise(label + "q", 120))),
                 (SERVER, record(23, version, noise(label + "a", 480)))]
    return talk


def handshake13(label, hello, suite):
    """A whole TLS 1.3 handshake: all after ServerHello is encrypted."""
    dummy = record(20, 0x0303, b"\x01")
    flight = record(22, 0x0303, server_hello(label, suite, tls13=True)) + dummy
    flight += record(23, 0x0303, noise(label + "ee", 900))
    return [
        (CLIENT, hello),
        (SERVER, flight),
        (CLIENT, dummy + record(23, 0x0303, noise(label + "fin", 53))),
        (CLIENT, record(23, 0x0303, noise(label + "q", 120))),
        (SERVER, record(23, 0x0303, noise(label + "a", 480))),
    ]


def alert(version, description, level=2):
    return record(21, version, bytes([level, description]))


# Packets.

def checksum(data):
    if len(data) % 2:
        data += b"\x00"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Capture:
    """Packets in the order of time; each step takes one millisecond."""

    def __init__(self):
        self.now = START * 10**9
        self.packets = []
        self.ident = 0
        self.port = 40_000

    def frame(self, src, dst, proto, segment):
        src, dst = ipaddress.ip_address(src).packed, ipaddress.ip_address(dst).packed
        self.ident += 1
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), self.ident, 0x4000,
                           64, proto, 0, src, dst)
        head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
        ether = bytes.fromhex("020000000002020000000001") if src < dst else bytes.fromhex(
            "020000000001020000000002")
        self.packets.append((self.now, ether + b"\x08\x00" + head + segment))
        self.now += 1_000_000

    @staticmethod
    def pseudo(src, dst, proto, length):
        return (ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed
                + struct.pack(">BBH", 0, proto, length))

    def udp(self, talk, port, client="10.0.0.10", server="10.0.0.20"):
        self.port += 1
        for who, payload in talk:
            ends = (client, server, self.port, port)
            src, dst, sport, dport = ends if who == CLIENT else (
                server, client, port, self.port)
            length = 8 + len(payload)
            head = struct.pack(">HHHH", sport, dport, length, 0)
            total = checksum(self.pseudo(src, dst, 17, length) + head + payload) or 0xFFFF
            self.frame(src, dst, 17, head[:6] + struct.pack(">H", total) + payload)

    def tcp(self, talk, port, client="10.0.0.10", server="10.0.0.20", reset=False):
        """A connection from SYN to FIN, or to the server's RST."""
        self.port += 1
        sport = self.port
        seq = {CLIENT: 1_000 * sport, SERVER: 2_000 * sport}

        def send(who, flags, payload=b"", acked=True):
            other = SERVER if who == CLIENT else CLIENT
            src, dst, from_port, to_port = (client, server, sport, port) if who == CLIENT else (
                server, client, port, sport)
            head = struct.pack(">HHIIBBHHH", from_port, to_port, seq[who],
                               seq[other] if acked else 0, 0x50, flags, 64_000, 0, 0)
            total = checksum(self.pseudo(src, dst, 6, 20 + len(payload)) + head + payload)
            self.frame(src, dst, 6, head[:16] + struct.pack(">H", total) + head[18:] + payload)
            seq[who] += len(payload) + (1 if flags & 3 else 0)

        send(CLIENT, 0x02, acked=False)
        send(SERVER, 0x12)
        send(CLIENT, 0x10)
        for who, payload in talk:
            for at in range(0, len(payload), 1_400):
                send(who, 0x18, payload[at:at + 1_400])
            send(SERVER if who == CLIENT else CLIENT, 0x10)
        if reset:
            send(SERVER, 0x14)
            return
        send(CLIENT, 0x11)
        send(SERVER, 0x11)
        send(CLIENT, 0x10)

    def wait(self, seconds):
        self.now += int(seconds * 10**9)


# Files.

def pcap(packets, order="<", nanoseconds=False, snaplen=65_535):
    magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1_000)
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, 1)
    return out + b"".join(pcap_record(packet, order, unit, snaplen) for packet in packets)


def pcap_record(packet, order="<", unit=1_000, snaplen=65_535):
    ts, frame = packet
    kept = frame[:snaplen]
    return struct.pack(order + "IIII", ts // 10**9, ts % 10**9 // unit, len(kept),
                       len(frame)) + kept


def pcapng(packets):
    def block(kind, body):
        body += b"\x00" * (-len(body) % 4)
        return struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))

    out = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    # if_tsresol 9: nanoseconds.
    options = struct.pack("<HHB3x", 9, 1, 9) + struct.pack("<HH", 0, 0)
    out += block(1, struct.pack("<HHI", 1, 0, 0) + options)
    for ts, frame in packets:
        head = struct.pack("<IIIII", 0, ts >> 32, ts & 0xFFFFFFFF, len(frame), len(frame))
        out += block(6, head + frame)
    return out
