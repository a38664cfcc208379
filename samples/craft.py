#!/usr/bin/env python3
"""Writes the crafted captures and, beside each, what must be found in it.

    python3 samples/craft.py [DIRECTORY]

Nothing but the standard library, no clock and no chance: the same files every
time. Expectations follow from how a capture is made, by `docs/controls.md` and
the RFCs; they are never copied from a result. README.md says what they hold.
"""

import base64
import json
import struct
import sys
from pathlib import Path

from wire import (CLIENT, P256, SERVER, SIGALG_SHA1, START, Capture, alert, certificate, client_hello,
                  dhe, ecdhe, handshake12, handshake13, noise, pcap, pcap_record, pcapng,
                  record, signed, u16)

GCM, GCM_384, CHACHA = 0xC02F, 0xC030, 0xCCA8
DHE_GCM, RSA_GCM = 0x009E, 0x009C
AES_128_13, AES_256_13 = 0x1301, 0x1302
GOOD_13 = (AES_256_13, AES_128_13, GCM_384, GCM)
NAME = "api.example"
CASES = {}


def case(function):
    CASES[function.__name__.replace("_", "-")] = function
    return function


def failed(count=1):
    return {"failed": count}


def passed(count=1):
    return {"passed": count}


def warned(count=1):
    return {"warned": count}


def unseen(count=1):
    return {"not_observed": count}


def refused(count=1):
    return {"refused": count}


def row(version, cipher, name=NAME):
    return {"version": version, "cipher": cipher, "server_name": name}


def expect(services, checks, tls=(), worst=None):
    """`services`: of each flow in order; `worst`: severity of a check's worst finding."""
    checks = {f"NS-01.{name}": counts for name, counts in checks.items()}
    worst = {f"NS-01.{name}": severity for name, severity in (worst or {}).items()}
    return {"services": services, "checks": checks, "tls": list(tls), "worst": worst}


def one(talk, port=443, **how):
    capture = Capture()
    capture.tcp(talk, port, **how)
    return capture


# TLS: versions.

@case
def ssl2():
    """SSL 2 from hello to master key: no version below it, and no secure suite in it."""
    kinds = bytes.fromhex("010080 020080 0700c0")
    challenge = noise("ssl2", 16)
    hello = struct.pack(">BHHHH", 1, 2, len(kinds), 0, len(challenge)) + kinds + challenge
    cert = certificate(NAME)
    answer = struct.pack(">BBBHHHH", 4, 0, 1, 2, len(cert), 3, 16)
    answer += cert + bytes.fromhex("010080") + noise("id", 16)
    key = b"\x02" + bytes.fromhex("010080") + struct.pack(">HHH", 0, 128, 0) + noise("key", 128)

    def framed(body):
        return struct.pack(">H", 0x8000 | len(body)) + body

    capture = one([(CLIENT, framed(hello)), (SERVER, framed(answer)), (CLIENT, framed(key))])
    return capture, expect(
        ["ssl"],
        {"tls_version": failed(), "cipher_offered": warned()},
        [{"version": "SSLv2"}],
        {"tls_version": "high"},
    )


@case
def ssl3_rc4():
    hello = client_hello("ssl3", (0x0005,), version=0x0300, renegotiation=False)
    talk = handshake12("ssl3", hello, 0x0005, version=0x0300, renegotiation=False)
    return one(talk), expect(
        ["ssl"],
        {"tls_version": failed(), "cipher_suite": failed(), "key_exchange": failed(),
         "cipher_offered": warned()},
        [row("SSLv3", "TLS_RSA_WITH_RC4_128_SHA", None)],
        {"tls_version": "high", "cipher_suite": "high", "key_exchange": "medium"},
    )


@case
def export_suite():
    hello = client_hello("export", (0x0003,), version=0x0301, name=NAME)
    modulus = b"\xc5" + noise("export", 62) + b"\x01"
    exchange = signed(0x0301, u16(modulus) + u16(b"\x03"), 0, "export")
    talk = handshake12("export", hello, 0x0003, version=0x0301, exchange=exchange)
    return one(talk), expect(
        ["ssl"],
        {"tls_version": failed(), "cipher_suite": failed(), "key_exchange": failed()},
        [row("TLS1.0", "TLS_RSA_EXPORT_WITH_RC4_40_MD5")],
    )


@case
def tls10_cbc():
    """The ServerKeyExchange of TLS 1.0 is signed with MD5 and SHA-1 together."""
    hello = client_hello("tls10", (0xC014,), version=0x0301, name=NAME)
    exchange = ecdhe("tls10", version=0x0301, curve=P256)
    talk = handshake12("tls10", hello, 0xC014, version=0x0301, exchange=exchange)
    return one(talk), expect(
        ["ssl"],
        {"tls_version": failed(), "cipher_suite": failed(), "key_exchange": passed(),
         "signature": failed(), "plaintext": passed()},
        [row("TLS1.0", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA")],
    )


@case
def tls11_refused():
    hello = client_hello("tls11", (0xC014,), version=0x0302, name=NAME)
    capture = one([(CLIENT, hello), (SERVER, alert(0x0302, 70))])
    return capture, expect(
        ["ssl"],
        {"tls_version": refused(), "cipher_suite": unseen(), "plaintext": unseen()},
        [row(None, None)],
    )


@case
def tls12_good():
    """A client of TLS 1.2 alone: TLS 1.3 was never within reach of both."""
    hello = client_hello("good12", (GCM_384, GCM), name=NAME)
    talk = handshake12("good12", hello, GCM, exchange=ecdhe("good12"))
    return one(talk), expect(
        ["ssl"],
        {"tls_version": passed(), "cipher_suite": passed(), "cipher_not_allowed": passed(),
         "cipher_offered": passed(), "key_exchange": passed(), "signature": passed(),
         "handshake": passed(), "downgrade": passed(), "tls_preferred": passed(),
         "plaintext": passed()},
        [row("TLS1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")],
    )


@case
def tls13_good():
    hello = client_hello("good13", GOOD_13, name=NAME, versions=(0x0304, 0x0303))
    return one(handshake13("good13", hello, AES_256_13)), expect(
        ["ssl"],
        {"tls_version": passed(), "cipher_suite": passed(), "cipher_not_allowed": passed(),
         "key_exchange": passed(), "signature": unseen(), "handshake": passed(),
         "downgrade": passed(), "tls_preferred": passed(), "plaintext": passed()},
        [row("TLS1.3", "TLS_AES_256_GCM_SHA384")],
    )


@case
def tls12_preferred_unknown():
    """TLS 1.3 offered, TLS 1.2 taken, nothing tells what the server knows."""
    hello = client_hello("unknown", GOOD_13, name=NAME, versions=(0x0304, 0x0303))
    talk = handshake12("unknown", hello, GCM, exchange=ecdhe("unknown"))
    return one(talk), expect(
        ["ssl"],
        {"tls_version": passed(), "tls_preferred": unseen(), "downgrade": passed()},
        [row("TLS1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")],
    )


# TLS: downgrades.

@case
def downgrade_sentinel():
    hello = client_hello("sentinel", GOOD_13, name=NAME, versions=(0x0304, 0x0303))
    talk = handshake12("sentinel", hello, GCM, exchange=ecdhe("sentinel"),
                       sentinel=b"DOWNGRD\x01")
    return one(talk), expect(
        ["ssl"],
        {"downgrade": failed(), "tls_preferred": warned(), "tls_version": passed()},
        [row("TLS1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")],
        {"downgrade": "high", "tls_preferred": "low"},
    )


@case
def fallback_scsv():
    hello = client_hello("scsv", (GCM, 0x5600), name=NAME)
    talk = handshake12("scsv", hello, GCM, exchange=ecdhe("scsv"))
    return one(talk), expect(
        ["ssl"],
        {"downgrade": failed(), "tls_version": passed()},
        [row("TLS1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")],
    )


@case
def fallback_scsv_refused():
    hello = client_hello("scsv", (GCM, 0x5600), name=NAME)
    capture = one([(CLIENT, hello), (SERVER, alert(0x0303, 86))])
    return capture, expect(["ssl"], {"downgrade": refused()}, [row(None, None)])


@case
def retry_dance():
    """TLS 1.2 is reset half-way, and a second later TLS 1.0 works."""
    capture = Capture()
    first = client_hello("dance", (GCM, 0xC013), name=NAME)
    capture.tcp([(CLIENT, first)], 443, reset=True)
    capture.wait(1)
    hello = client_hello("dance10", (0xC013,), version=0x0301, name=NAME)
    capture.tcp(handshake12("dance10", hello, 0xC013, version=0x0301,
                            exchange=ecdhe("dance10", version=0x0301)), 443)
    return capture, expect(
        ["ssl", "ssl"],
        {"downgrade": failed() | unseen(), "tls_version": failed() | unseen()},
        [row(None, None), row("TLS1.0", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA")],
        {"downgrade": "high"},
    )


# TLS: suites and keys.

@case
def triple_des():
    hello = client_hello("3des", (0x000A,), name=NAME)
    return one(handshake12("3des", hello, 0x000A)), expect(
        ["ssl"],
        {"tls_version": passed(), "cipher_suite": failed(), "key_exchange": failed()},
        [row("TLS1.2", "TLS_RSA_WITH_3DES_EDE_CBC_SHA")],
    )


@case
def anonymous_suite():
    """Nobody proves anything: TLS_DH_anon_WITH_AES_128_GCM_SHA256."""
    hello = client_hello("anon", (0x00A6,), name=NAME)
    talk = handshake12("anon", hello, 0x00A6, certified=False,
                       exchange=dhe("anon", 2048, anonymous=True))
    return one(talk), expect(
        ["ssl"],
        {"cipher_suite": failed(), "key_exchange": passed()},
        [row("TLS1.2", "TLS_DH_anon_WITH_AES_128_GCM_SHA256")],
        {"cipher_suite": "high"},
    )


@case
def unlisted_suite():
    hello = client_hello("chacha", (CHACHA,), name=NAME)
    talk = handshake12("chacha", hello, CHACHA, exchange=ecdhe("chacha"))
    return one(talk), expect(
        ["ssl"],
        {"cipher_suite": passed(), "cipher_not_allowed": failed(), "cipher_offered": passed()},
        [row("TLS1.2", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")],
        {"cipher_not_allowed": "medium"},
    )


@case
def dhe_1024():
    hello = client_hello("dhe", (DHE_GCM,), name=NAME)
    talk = handshake12("dhe", hello, DHE_GCM, exchange=dhe("dhe", 1024))
    return one(talk), expect(
        ["ssl"],
        {"key_exchange": failed(), "cipher_suite": passed(), "cipher_not_allowed": failed()},
        [row("TLS1.2", "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256")],
        {"key_exchange": "medium"},
    )


@case
def no_forward_secrecy():
    hello = client_hello("static", (RSA_GCM,), name=NAME)
    return one(handshake12("static", hello, RSA_GCM)), expect(
        ["ssl"],
        {"key_exchange": failed(), "cipher_suite": passed()},
        [row("TLS1.2", "TLS_RSA_WITH_AES_128_GCM_SHA256")],
    )


@case
def sha1_signature():
    hello = client_hello("sha1", (GCM,), name=NAME, sigalgs=(0x0401, SIGALG_SHA1))
    talk = handshake12("sha1", hello, GCM, exchange=ecdhe("sha1", sigalg=SIGALG_SHA1))
    return one(talk), expect(
        ["ssl"],
        {"signature": failed(), "key_exchange": passed()},
        [row("TLS1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")],
        {"signature": "medium"},
    )


# TLS: the handshake itself.

@case
def compression():
    hello = client_hello("crime", (GCM,), name=NAME, compressions=b"\x01\x00")
    talk = handshake12("crime", hello, GCM, exchange=ecdhe("crime"), compression=1)
    return one(talk), expect(
        ["ssl"], {"handshake": failed()},
        [row("TLS1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")], {"handshake": "high"},
    )


@case
def heartbeat_overflow():
    """The request claims 16,384 bytes and brings three, before any key is set."""
    hello = client_hello("heart", (GCM,), name=NAME)
    talk = handshake12("heart", hello, GCM, exchange=ecdhe("heart"))
    talk.insert(2, (CLIENT, record(24, 0x0303, b"\x01\x40\x00abc")))
    return one(talk), expect(
        ["ssl"], {"handshake": failed()},
        [row("TLS1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")], {"handshake": "high"},
    )


@case
def no_secure_renegotiation():
    hello = client_hello("reneg", (GCM,), name=NAME)
    talk = handshake12("reneg", hello, GCM, exchange=ecdhe("reneg"), renegotiation=False)
    return one(talk), expect(
        ["ssl"], {"handshake": warned()},
        [row("TLS1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")], {"handshake": "low"},
    )


@case
def server_hello_missing():
    """The capture ends after the ClientHello: of most checks nothing can be said."""
    hello = client_hello("half", GOOD_13, name=NAME, versions=(0x0304, 0x0303))
    capture = one([(CLIENT, hello)])
    capture.packets = capture.packets[:5]
    checks = ("tls_version", "cipher_suite", "cipher_not_allowed", "key_exchange", "signature",
              "downgrade", "tls_preferred", "plaintext")
    return capture, expect(["ssl"], dict.fromkeys(checks, unseen()) | {"cipher_offered": passed()},
                           [row(None, None)])


@case
def client_hello_missing():
    """The capture begins with the server's answer."""
    hello = client_hello("late", (GCM,), name=NAME)
    capture = one(handshake12("late", hello, GCM, exchange=ecdhe("late")))
    capture.packets = capture.packets[5:]
    return capture, expect(
        ["ssl"],
        {"cipher_offered": unseen(), "downgrade": unseen(), "tls_version": passed(),
         "cipher_suite": passed()},
        [row("TLS1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", None)],
    )


# Readable protocols.

def lines(*talk):
    return [(who, text.encode() + b"\r\n") for who, text in talk]


def plain(service, talk, port, credentials=False, checks=None, udp=False):
    """A protocol in plaintext: critical with credentials, else high."""
    capture = Capture()
    (capture.udp if udp else capture.tcp)(talk, port)
    return capture, expect(
        [service], {"plaintext": failed()} | (checks or {}), (),
        {"plaintext": "critical" if credentials else "high"},
    )


def both(name, service, port, bare, with_credentials, udp=False):
    """A case of each: `bare` without credentials, the other with them."""
    CASES[f"{name}"] = lambda: plain(service, bare, port, False, udp=udp)
    CASES[f"{name}-credentials"] = lambda: plain(service, with_credentials, port, True, udp=udp)


FTP_HELLO = [(SERVER, "220 files.example FTP ready")]
both(
    "ftp", "ftp", 21,
    lines(*FTP_HELLO, (CLIENT, "SYST"), (SERVER, "215 UNIX Type: L8"), (CLIENT, "QUIT"),
          (SERVER, "221 Goodbye.")),
    lines(*FTP_HELLO, (CLIENT, "USER sample"), (SERVER, "331 Password required"),
          (CLIENT, "PASS not-a-secret"), (SERVER, "230 Logged in"), (CLIENT, "QUIT"),
          (SERVER, "221 Goodbye.")),
)

TELNET_HELLO = [
    (SERVER, bytes.fromhex("fffd18fffd20fffd23fffd27")),
    (CLIENT, bytes.fromhex("fffc18fffc20fffc23fffc27")),
    (SERVER, bytes.fromhex("fffb03fffb01") + b"\r\nswitch.example\r\n\r\nlogin: "),
    (CLIENT, bytes.fromhex("fffd03fffd01")),
]
both(
    "telnet", "telnet", 23, TELNET_HELLO,
    TELNET_HELLO + [(CLIENT, b"sample\r\n"), (SERVER, b"sample\r\nPassword: "),
                    (CLIENT, b"not-a-secret\r\n"), (SERVER, b"\r\nswitch> ")],
)

both(
    "imap", "imap", 143,
    lines((SERVER, "* OK IMAP4rev1 Service Ready"), (CLIENT, "a1 CAPABILITY"),
          (SERVER, "* CAPABILITY IMAP4rev1"), (SERVER, "a1 OK done"),
          (CLIENT, "a2 LOGOUT"), (SERVER, "* BYE"), (SERVER, "a2 OK done")),
    lines((SERVER, "* OK IMAP4rev1 Service Ready"), (CLIENT, "a1 LOGIN sample not-a-secret"),
          (SERVER, "a1 OK LOGIN completed"), (CLIENT, "a2 LOGOUT"), (SERVER, "* BYE"),
          (SERVER, "a2 OK done")),
)
both(
    "pop3", "pop3", 110,
    lines((SERVER, "+OK POP3 server ready"), (CLIENT, "CAPA"),
          (SERVER, "+OK\r\nUIDL\r\nUSER\r\n."), (CLIENT, "QUIT"), (SERVER, "+OK")),
    lines((SERVER, "+OK POP3 server ready"), (CLIENT, "USER sample"), (SERVER, "+OK"),
          (CLIENT, "PASS not-a-secret"), (SERVER, "+OK 0 messages"), (CLIENT, "QUIT"),
          (SERVER, "+OK")),
)


def ldap_bind(name, secret):
    body = b"\x02\x01\x03\x04" + bytes([len(name)]) + name
    body += b"\x80" + bytes([len(secret)]) + secret
    body = b"\x02\x01\x01\x60" + bytes([len(body)]) + body
    return b"\x30" + bytes([len(body)]) + body


LDAP_BOUND = bytes.fromhex("300c02010161070a010004000400")
LDAP_UNBIND = bytes.fromhex("30050201024200")
both(
    "ldap", "ldap", 389,
    [(CLIENT, ldap_bind(b"", b"")), (SERVER, LDAP_BOUND), (CLIENT, LDAP_UNBIND)],
    [(CLIENT, ldap_bind(b"cn=sample", b"not-a-secret")), (SERVER, LDAP_BOUND),
     (CLIENT, LDAP_UNBIND)],
)


def pg(kind, body):
    return kind + struct.pack(">I", len(body) + 4) + body


PG_START = pg(b"", struct.pack(">I", 196_608) + b"user\0sample\0database\0tools\0\0")
PG_READY = pg(b"R", struct.pack(">I", 0)) + pg(b"Z", b"I")
PG_QUERY = [(CLIENT, pg(b"Q", b"select 1\0")),
            (SERVER, pg(b"C", b"SELECT 1\0") + pg(b"Z", b"I")), (CLIENT, pg(b"X", b""))]
both(
    "postgresql", "postgresql", 5432,
    [(CLIENT, PG_START), (SERVER, PG_READY), *PG_QUERY],
    [(CLIENT, PG_START), (SERVER, pg(b"R", struct.pack(">I", 3))),
     (CLIENT, pg(b"p", b"not-a-secret\0")), (SERVER, PG_READY), *PG_QUERY],
)


@case
def postgresql_tls_refused():
    talk = [(CLIENT, struct.pack(">II", 8, 80_877_103)), (SERVER, b"N"), (CLIENT, PG_START),
            (SERVER, PG_READY), *PG_QUERY]
    return plain("postgresql", talk, 5432, checks={"starttls": failed()})


both(
    "redis", "redis", 6379,
    [(CLIENT, b"*1\r\n$4\r\nPING\r\n"), (SERVER, b"+PONG\r\n")],
    [(CLIENT, b"*2\r\n$4\r\nAUTH\r\n$12\r\nnot-a-secret\r\n"), (SERVER, b"+OK\r\n"),
     (CLIENT, b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"), (SERVER, b"$5\r\nvalue\r\n")],
)


def mqtt(flags, *fields):
    body = u16(b"MQTT") + bytes([4, flags, 0, 60]) + b"".join(u16(field) for field in fields)
    return b"\x10" + bytes([len(body)]) + body


MQTT_REST = [(SERVER, b"\x20\x02\x00\x00"), (CLIENT, b"\x30\x09" + u16(b"room") + b"21C"),
             (CLIENT, b"\xe0\x00")]
both(
    "mqtt", "mqtt", 1883,
    [(CLIENT, mqtt(0x02, b"sensor-1")), *MQTT_REST],
    [(CLIENT, mqtt(0xC2, b"sensor-1", b"sample", b"not-a-secret")), *MQTT_REST],
)


def sip(authorization=""):
    text = ("REGISTER sip:voice.example SIP/2.0\r\n"
            "Via: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bK776\r\n"
            "Max-Forwards: 70\r\nFrom: <sip:sample@voice.example>;tag=1\r\n"
            "To: <sip:sample@voice.example>\r\nCall-ID: 1@10.0.0.10\r\nCSeq: 1 REGISTER\r\n"
            f"{authorization}Content-Length: 0\r\n\r\n")
    return text.encode()


SIP_OK = (b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bK776\r\n"
          b"From: <sip:sample@voice.example>;tag=1\r\nTo: <sip:sample@voice.example>;tag=2\r\n"
          b"Call-ID: 1@10.0.0.10\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n")
SIP_DIGEST = ('Authorization: Digest username="sample", realm="voice.example", nonce="1", '
              'uri="sip:voice.example", response="6629fae49393a05397450978507c4ef1"\r\n')
both(
    "sip", "sip", 5060, [(CLIENT, sip()), (SERVER, SIP_OK)],
    [(CLIENT, sip(SIP_DIGEST)), (SERVER, SIP_OK)], udp=True,
)

IRC_HELLO = [(CLIENT, "NICK sample"), (CLIENT, "USER sample 0 * :Sample"),
             (SERVER, ":chat.example 001 sample :Welcome"), (CLIENT, "QUIT :bye")]
both("irc", "irc", 6667, lines(*IRC_HELLO),
     lines((CLIENT, "PASS not-a-secret"), *IRC_HELLO))


@case
def syslog():
    talk = [(CLIENT, b"<34>1 2026-03-02T09:00:00Z host.example app 1 ID1 - started")]
    return plain("syslog", talk, 514, udp=True)


SMTP_HELLO = [(SERVER, "220 mail.example ESMTP"), (CLIENT, "EHLO agent.example")]
SMTP_OFFER = [*SMTP_HELLO, (SERVER, "250-mail.example\r\n250-STARTTLS\r\n250 AUTH PLAIN")]
SMTP_MAIL = [(CLIENT, "MAIL FROM:<a@agent.example>"), (SERVER, "250 OK"),
             (CLIENT, "RCPT TO:<b@mail.example>"), (SERVER, "250 OK"), (CLIENT, "DATA"),
             (SERVER, "354 go on"), (CLIENT, "Subject: sample\r\n\r\nHello.\r\n."),
             (SERVER, "250 queued"), (CLIENT, "QUIT"), (SERVER, "221 bye")]


@case
def smtp():
    talk = lines(*SMTP_HELLO, (SERVER, "250 mail.example"), *SMTP_MAIL)
    return plain("smtp", talk, 25, checks={"starttls": unseen()})


@case
def smtp_starttls_not_taken():
    secret = base64.b64encode(b"\0sample\0not-a-secret").decode()
    talk = lines(*SMTP_OFFER, (CLIENT, f"AUTH PLAIN {secret}"), (SERVER, "235 OK"), *SMTP_MAIL)
    return plain("smtp", talk, 587, True, checks={"starttls": failed()})


@case
def smtp_starttls_refused():
    talk = lines(*SMTP_OFFER, (CLIENT, "STARTTLS"), (SERVER, "454 not available"), *SMTP_MAIL)
    return plain("smtp", talk, 587, checks={"starttls": failed()})


@case
def smtp_starttls_taken():
    hello = client_hello("mail", (GCM,), name="mail.example")
    talk = lines(*SMTP_OFFER, (CLIENT, "STARTTLS"), (SERVER, "220 go ahead"))
    talk += handshake12("mail", hello, GCM, name="mail.example", exchange=ecdhe("mail"))
    return one(talk, 587), expect(
        ["smtp,ssl"],
        {"starttls": passed(), "tls_version": passed(), "cipher_suite": passed()},
        [row("TLS1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "mail.example")],
    )


def http(status, *headers, request=()):
    asked = ["GET /v1/tools HTTP/1.1", "Host: www.example", *request, "", ""]
    told = [f"HTTP/1.1 {status}", *headers, "Content-Length: 2", "", "ok"]
    return [(CLIENT, "\r\n".join(asked).encode()), (SERVER, "\r\n".join(told).encode())]


@case
def http_served():
    return plain("http", http("200 OK"), 80, checks={"http_upgrade": failed()})


@case
def http_basic():
    secret = base64.b64encode(b"sample:not-a-secret").decode()
    talk = http("200 OK", request=[f"Authorization: Basic {secret}"])
    return plain("http", talk, 80, True, checks={"http_upgrade": failed()})


@case
def http_on_another_port():
    """Found by what is said, not by where."""
    return plain("http", http("200 OK"), 443, checks={"http_upgrade": failed()})


@case
def http_upgraded():
    capture = one(http("301 Moved Permanently", "Location: https://www.example/v1/tools"), 80)
    hello = client_hello("www", (GCM,), name="www.example")
    capture.tcp(handshake12("www", hello, GCM, name="www.example", exchange=ecdhe("www")), 443)
    return capture, expect(
        ["http", "ssl"],
        {"plaintext": passed(), "http_upgrade": warned()},
        [row("TLS1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "www.example")],
        {"http_upgrade": "low"},
    )


@case
def http_refused():
    capture = one(http("426 Upgrade Required", "Upgrade: TLS/1.2", "Connection: Upgrade"), 80)
    return capture, expect(["http"], {"plaintext": refused(), "http_upgrade": refused()})


@case
def http_unanswered():
    capture = one(http("200 OK")[:1], 80)
    return capture, expect(["http"], {"http_upgrade": unseen()})


def dns_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\x00"


DNS_QUERY = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + dns_name(NAME) + b"\0\x01\0\x01"
DNS_ANSWER = (struct.pack(">HHHHHH", 7, 0x8180, 1, 1, 0, 0) + dns_name(NAME) + b"\0\x01\0\x01"
              + bytes.fromhex("c00c000100010000003c00040a000014"))


@case
def dns():
    """Infrastructure: counted apart, no plaintext of NS-01.plaintext."""
    capture = Capture()
    capture.udp([(CLIENT, DNS_QUERY), (SERVER, DNS_ANSWER)], 53)
    return capture, expect(["dns"], {"dns_plaintext": warned(), "plaintext": {"failed": 0}}, (),
                           {"dns_plaintext": "info"})


@case
def dns_names():
    """Flows to an address that DNS gave: what they say of themselves comes first."""
    capture = Capture()
    before = [(CLIENT, b"NICK early\r\nUSER e 0 * :e\r\n"), (SERVER, b":s 001 early :hi\r\n")]
    capture.tcp(before, 6667)
    capture.udp([(CLIENT, DNS_QUERY), (SERVER, DNS_ANSWER)], 53)
    capture.tcp([(CLIENT, b"NICK late\r\nUSER l 0 * :l\r\n"), (SERVER, b":s 001 late :hi\r\n")], 6667)
    capture.tcp([(CLIENT, b"GET / HTTP/1.1\r\nHost: Web.Example:80\r\n\r\n"),
                 (SERVER, b"HTTP/1.1 204 No Content\r\n\r\n")], 80)
    expected = expect(["irc", "dns", "irc", "http"], {})

    def flow(name, source, domain):
        return {"server_name": name, "server_name_source": source, "etld1": domain,
                "destination": name or "10.0.0.20"}

    return capture, expected | {"flows": [
        flow(None, None, None), flow(None, None, None) | {"destination": "10.0.0.20"},
        flow(NAME, "dns", "api.example"), flow("web.example", "http_host", "web.example")]}


@case
def dns_over_tls():
    hello = client_hello("dot", (GCM,), name="dns.example")
    talk = handshake12("dot", hello, GCM, name="dns.example", exchange=ecdhe("dot"))
    return one(talk, 853), expect(
        ["ssl,dot"], {"dns_plaintext": passed(), "plaintext": passed()},
        [row("TLS1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "dns.example")],
    )


# HTTP APIs. Expectations are counted by hand from the requests, in their order.

PROTECTED = ["X-Content-Type-Options: nosniff", "X-Frame-Options: DENY",
             "X-XSS-Protection: 1; mode=block",
             "Strict-Transport-Security: max-age=31536000; includeSubDomains",
             "Content-Security-Policy: default-src 'none'"]
BEARER = "Authorization: Bearer not-a-secret-token"
LONG = "X-Filler: " + "x" * 9_000


def ask(method, target, *headers, body=""):
    head = [f"{method} {target} HTTP/1.1", "Host: api.example", *headers]
    head += [f"Content-Length: {len(body)}"] if body else []
    return CLIENT, "\r\n".join([*head, "", body]).encode()


def tell(status, *headers):
    head = [f"HTTP/1.1 {status} X", "Content-Type: application/json", *headers,
            "Content-Length: 2", "", "{}"]
    return SERVER, "\r\n".join(head).encode()


def api(talk, **checks):
    expected = expect(["http"], {})
    return one(talk, 80), expected | {
        "checks": {f"NS-03.{name}": counts for name, counts in checks.items()}}


def jwt(alg, **claims):
    def part(value):
        text = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
        return base64.urlsafe_b64encode(text).decode().rstrip("=")
    return f"Authorization: Bearer {part({'alg': alg})}.{part(claims)}.bm90LXNpZ25lZA"


@case
def api_guarded():
    """Credentials asked for, sizes and media types refused, headers there; all in plaintext."""
    json_type, items = "Content-Type: application/json", "/api/v1/items"
    return api(
        [ask("GET", items, BEARER), tell(200, *PROTECTED),
         ask("GET", items), tell(401, *PROTECTED),
         ask("POST", items, BEARER, "Content-Type: text/xml", body="<a/>"), tell(415, *PROTECTED),
         ask("POST", items, BEARER, json_type, body="[1]"), tell(201, *PROTECTED),
         ask("GET", items, BEARER, LONG), tell(431, *PROTECTED)],
        auth_missing=passed(4) | refused(1),
        authorization=passed(2),
        content_type=passed(1) | refused(1),
        credential_in_url=passed(5),
        credential_plaintext=failed(4) | passed(1),
        header_size=passed(4) | refused(1),
        invalid_credential_accepted=passed(2),
        rate_limit=passed(5),
        request_size=passed(5),
        security_headers=passed(5),
    )


@case
def api_open():
    """Everything served to everyone."""
    return api(
        [ask("GET", "/api/v1/users?api_key=not-a-secret"), tell(200),
         ask("GET", "/api/admin/users"), tell(200),
         ask("POST", "/api/v1/users", "Content-Type: text/xml", body="<a/>"),
         tell(200, "Set-Cookie: sessionid=not-a-secret; Path=/"),
         ask("GET", "/api/v1/users", LONG), tell(200)],
        auth_missing=failed(4),
        authorization=failed(1),
        content_type=warned(1),
        cookie=warned(1),
        credential_in_url=failed(1) | passed(3),
        # The key in the query, and the cookie that is set.
        credential_plaintext=failed(2) | passed(3),
        header_size=warned(1) | passed(3),
        request_size=passed(4),
        rate_limit=passed(4),
        security_headers=warned(16),
    )


@case
def api_rate_limit():
    """Ten at once are the burst; the eleventh is served all the same, the twelfth refused."""
    talk = []
    for status in [200] * 11 + [429]:
        talk += [ask("GET", "/api/v1/execute", BEARER), tell(status)]
    return api(talk, rate_limit=passed(10) | failed(1) | refused(1))


@case
def api_tokens():
    """Tokens that say what they are, and credentials refused and then served."""
    me = "/api/v1/me"
    unsigned = jwt("none", iat=START - 60, exp=START + 600)
    expired = jwt("RS256", iat=START - 600, exp=START - 60)
    valid = jwt("RS256", iat=START - 60, exp=START + 600)
    return api(
        [ask("GET", me, unsigned), tell(200),
         ask("GET", me, expired), tell(401),
         ask("GET", me, expired), tell(200),
         ask("GET", me, valid), tell(200),
         ask("GET", me, BEARER), tell(403),
         ask("GET", me, BEARER), tell(200),
         ask("GET", me, valid)],
        jwt=failed(2) | passed(1) | refused(1) | unseen(1),
        invalid_credential_accepted=passed(3) | refused(1) | failed(1) | unseen(1),
        authorization=passed(3) | refused(1) | failed(1) | unseen(1),
    )


# Files: the same two connections in other clothes, and damaged.

TWO = [row("TLS1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
       row("TLS1.3", "TLS_AES_256_GCM_SHA384")]


def two():
    capture = one(handshake12(
        "two", client_hello("two", (GCM,), name=NAME), GCM, exchange=ecdhe("two")))
    hello = client_hello("two13", GOOD_13, name=NAME, versions=(0x0304, 0x0303))
    capture.tcp(handshake13("two13", hello, AES_256_13), 443)
    return capture, expect(["ssl", "ssl"], {"tls_version": passed(2), "handshake": passed(2)}, TWO)


@case
def format_big_endian_nanoseconds():
    capture, expected = two()
    return pcap(capture.packets, order=">", nanoseconds=True), expected


@case
def format_pcapng():
    capture, expected = two()
    return pcapng(capture.packets), expected


@case
def damage_truncated():
    """The file ends within its last record."""
    capture, expected = two()
    return pcap(capture.packets)[:-23], expected


@case
def damage_garbage():
    """300 bytes that are no record stand between the two connections."""
    capture, expected = two()
    first = len(tls12_packets())
    file = pcap(capture.packets[:first]) + noise("garbage", 300)
    file += b"".join(pcap_record(packet) for packet in capture.packets[first:])
    return file, expected


def tls12_packets():
    """The packets of the first of the two connections."""
    ports = [struct.unpack(">HH", frame[34:38]) for _, frame in two()[0].packets]
    return [pair for pair in ports if 40_001 in pair]


def main():
    here = Path(__file__).resolve().parent
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else here / "crafted"
    folder.mkdir(parents=True, exist_ok=True)
    for name, build in sorted(CASES.items()):
        made, expected = build()
        file = made if isinstance(made, bytes) else pcap(made.packets)
        end = "pcapng" if file.startswith(b"\x0a\x0d\x0d\x0a") else "pcap"
        (folder / f"{name}.{end}").write_bytes(file)
        text = json.dumps({"made_by": "samples/craft.py", "capture": f"{name}.{end}"} | expected,
                          indent=2, sort_keys=True)
        (folder / f"{name}.expect.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
