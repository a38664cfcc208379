#!/usr/bin/env python3
"""Writes decrypted/compressed-*.pcapng: TLS 1.3 handshakes whose certificate comes
compressed (RFC 8879) by each of its algorithms, and one whose length lies, with
their secrets in the file. No OpenSSL or GnuTLS of a stable Debian sends them.

    python3 samples/compressed.py      # needs cryptography, brotli, zstandard

The certificate is that of pki/rsa.pem; hellos and packets are wire.py's.
"""
import base64
import json
import struct
import sys
import zlib
from pathlib import Path

import brotli
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

sys.dont_write_bytecode = True
from wire import (CLIENT, SERVER, Capture, client_hello, extension, message,  # noqa: E402
                  noise, pcapng, record, server_hello, u8, u16, u24)

HERE = Path(__file__).resolve().parent
SUITE, HOST = 0x1301, "api.llm.example"


def der_of(name):
    text = (HERE / "pki" / name).read_text()
    return base64.b64decode("".join(line for line in text.split("\n") if "-" not in line))


def expand(secret, label, length):
    """HKDF-Expand-Label without a context (RFC 8446 section 7.1)."""
    info = struct.pack(">H", length) + u8(b"tls13 " + label.encode()) + u8(b"")
    return HKDFExpand(SHA256(), length, info).derive(secret)


class Sealer:
    """One end's records under one secret (RFC 8446 section 5.2)."""

    def __init__(self, secret):
        self.key, self.iv = AESGCM(expand(secret, "key", 16)), expand(secret, "iv", 12)
        self.sequence = 0

    def __call__(self, kind, content):
        inner = content + bytes([kind])
        header = struct.pack(">BHH", 23, 0x0303, len(inner) + 16)
        nonce = (int.from_bytes(self.iv, "big") ^ self.sequence).to_bytes(12, "big")
        self.sequence += 1
        return header + self.key.encrypt(nonce, inner, header)


def with_secrets(file, lines):
    """The capture with a Decryption Secrets Block behind its first block (pcapng section 4.7)."""
    text = "".join(line + "\n" for line in lines).encode()
    body = struct.pack("<II", 0x544C534B, len(text)) + text + bytes(-len(text) % 4)
    length = struct.pack("<I", len(body) + 12)
    first = struct.unpack_from("<I", file, 4)[0]
    return file[:first] + struct.pack("<I", 10) + length + body + length + file[first:]


def capture(label, algorithm, compress, lie=0):
    leaf = der_of("rsa.pem")
    plain = u8(b"") + u24(u24(leaf) + u16(b""))
    compressed = struct.pack(">H", algorithm) + (len(plain) + lie).to_bytes(3, "big")
    compressed += u24(compress(plain))
    secrets = {name: noise(label + name, 32) for name in
               ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0")}
    seal = {name: Sealer(secret) for name, secret in secrets.items()}
    hello = client_hello(label, (SUITE,), name=HOST, versions=(0x0304,))
    # EncryptedExtensions, CompressedCertificate, CertificateVerify, Finished.
    flight = message(8, u16(extension(16, u16(u8(b"http/1.1")))))
    flight += message(25, compressed)
    flight += message(15, struct.pack(">H", 0x0804) + u16(noise(label + "verify", 256)))
    flight += message(20, noise(label + "server finished", 32))
    server = record(22, 0x0303, server_hello(label, SUITE, tls13=True))
    server += seal["SERVER_HANDSHAKE_TRAFFIC_SECRET"](22, flight)
    finished = message(20, noise(label + "client finished", 32))
    request = f"GET /v1/answer HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    made = Capture()
    made.tcp([
        (CLIENT, hello),
        (SERVER, server),
        (CLIENT, seal["CLIENT_HANDSHAKE_TRAFFIC_SECRET"](22, finished)),
        (CLIENT, seal["CLIENT_TRAFFIC_SECRET_0"](23, request)),
        (SERVER, seal["SERVER_TRAFFIC_SECRET_0"](23, answer)),
    ], 443)
    random = noise(label + "client", 32).hex()
    lines = [f"{name} {random} {secret.hex()}" for name, secret in secrets.items()]
    return with_secrets(pcapng(made.packets), lines), leaf


def main():
    import hashlib
    zstd = zstandard.ZstdCompressor(level=19)
    for name, algorithm, compress, lie in (
        ("zlib", 1, lambda data: zlib.compress(data, 9), 0),
        ("brotli", 2, brotli.compress, 0),
        ("zstd", 3, zstd.compress, 0),
        ("length-lies", 2, brotli.compress, 1),
    ):
        name = f"compressed-{name}"
        file, leaf = capture(name, algorithm, compress, lie)
        print_ = hashlib.sha256(leaf).hexdigest()
        shown = lie == 0
        expected = {
            "made_by": "samples/compressed.py",
            "capture": f"{name}.pcapng",
            "services": ["ssl,http"],
            "tls": [{
                "version": "TLS1.3", "cipher": "TLS_AES_128_GCM_SHA256", "server_name": HOST,
                "decrypted": True, "decryption_source": "dsb", "decryption_failure": None,
                "cert_visibility": "decrypted" if shown else "encrypted",
                "leaf_fingerprint": print_ if shown else None,
                "chain_fingerprints": [print_] if shown else [],
                "malformed": None if shown else "a malformed message of type 25",
            }],
            "http": [{"method": "GET", "path": "/v1/answer", "response_status": 200,
                      "decrypted": True, "plaintext": False}],
            "checks": {"NS-02.hostname": {"passed": int(shown), "not_observed": int(not shown)}},
        }
        (HERE / "decrypted" / f"{name}.pcapng").write_bytes(file)
        text = json.dumps(expected, indent=2)
        (HERE / "decrypted" / f"{name}.expect.json").write_text(text + "\n")


main()
