#!/usr/bin/env python3
"""Records samples/certificates/: one handshake of `openssl s_client` with
`openssl s_server` for each way in which a certificate can be good or bad, and
writes beside each capture what must be found in it.

    sudo python3 samples/certificates.py

Needs root (a network namespace of its own, with nothing but loopback), openssl
3, tcpdump, iproute2 and Python's `cryptography`. TLS 1.2, so that certificates
can be seen. The expectations stand in CASES beside how the case is made: they
follow from docs/controls.md and the RFCs, never from a result. All keys are made
anew with each run, written nowhere, and protect nothing.
"""

import base64
import datetime
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

HERE = Path(__file__).resolve().parent
OUT = HERE / "certificates"
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
HOST = "server.example"
SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")


def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "nsforensics samples"),
                      x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Party:
    """A certificate and its key."""

    def __init__(self, cert, key):
        self.cert, self.key = cert, key

    @property
    def der(self):
        return self.cert.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self):
        return self.cert.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self):
        return self.key.private_bytes(serialization.Encoding.PEM,
                                      serialization.PrivateFormat.PKCS8,
                                      serialization.NoEncryption())

    @property
    def spki(self):
        return self.cert.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def authority(subject, issuer=None, key=None, ca=True, constraints=None):
    key = key or ec_key()
    signer = issuer or Party(None, key)
    builder = (
        x509.CertificateBuilder().subject_name(name(subject))
        .issuer_name(issuer.cert.subject if issuer else name(subject))
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 400 * DAY).not_valid_after(NOW + 3_000 * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()),
                       critical=False))
    if ca:
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=False, content_commitment=False, key_encipherment=False,
                          data_encipherment=False, key_agreement=False, key_cert_sign=True,
                          crl_sign=True, encipher_only=False, decipher_only=False), critical=True)
    if constraints:
        builder = builder.add_extension(
            x509.NameConstraints(permitted_subtrees=[x509.DNSName(constraints)],
                                 excluded_subtrees=None), critical=True)
    return Party(builder.sign(signer.key, hashes.SHA256()), key)


def leaf(issuer, hosts=(HOST,), start=NOW - 30 * DAY, end=NOW + 300 * DAY, key=None, usage=None,
         extra=(), serial=None):
    key = key or ec_key()
    names = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    builder = (
        x509.CertificateBuilder().subject_name(name(hosts[0]))
        .issuer_name(issuer.cert.subject if issuer else name(hosts[0]))
        .public_key(key.public_key()).serial_number(serial or x509.random_serial_number())
        .not_valid_before(start).not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage or ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
            (issuer.key if issuer else key).public_key()), critical=False))
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical=critical)
    signer = issuer.key if issuer else key
    return Party(builder.sign(signer, hashes.SHA256()), key)


def with_sha1(party, issuer):
    """A certificate like `party`'s signed with SHA-1, which `cryptography` refuses to do."""
    request = x509.CertificateSigningRequestBuilder().subject_name(party.cert.subject)
    for extension in party.cert.extensions:
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
            request = request.add_extension(extension.value, critical=extension.critical)
    request = request.sign(party.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    with tempfile.TemporaryDirectory() as work:
        files = {"request": request, "ca": issuer.pem, "key": issuer.key_pem}
        for file, content in files.items():
            Path(work, file).write_bytes(content)
        signed = subprocess.run(
            ["openssl", "x509", "-req", "-in", "request", "-CA", "ca", "-CAkey", "key", "-sha1",
             "-days", "300", "-set_serial", "77", "-copy_extensions", "copy"], cwd=work, check=True,
            capture_output=True).stdout
    return Party(x509.load_pem_x509_certificate(signed), party.key)


# Certificate transparency (RFC 6962 section 3.2).

def vec16(data):
    return len(data).to_bytes(2, "big") + data


def timestamp(log, entry, at=None, broken=False):
    """One SCT over an entry: entry_type and signed_entry."""
    millis = int((at or NOW - 2 * DAY).timestamp() * 1000).to_bytes(8, "big")
    signed = b"\0\0" + millis + entry + vec16(b"")
    signature = log.sign(signed + (b"!" if broken else b""), ec.ECDSA(hashes.SHA256()))
    return b"\0" + log_id(log) + millis + vec16(b"") + b"\x04\x03" + vec16(signature)


def log_spki(log):
    return log.public_key().public_bytes(serialization.Encoding.DER,
                                         serialization.PublicFormat.SubjectPublicKeyInfo)


def log_id(log):
    return hashlib.sha256(log_spki(log)).digest()


def octets(data):
    length = bytes([len(data)]) if len(data) < 128 else b"\x82" + len(data).to_bytes(2, "big")
    return b"\x04" + length + data


def sct_leaf(issuer, log, broken=False):
    """A certificate with an embedded timestamp."""
    key, serial = ec_key(), x509.random_serial_number()
    draft = leaf(issuer, key=key, serial=serial)
    tbs = draft.cert.tbs_certificate_bytes
    entry = b"\0\1" + hashlib.sha256(issuer.spki).digest() + len(tbs).to_bytes(3, "big") + tbs
    listed = vec16(vec16(timestamp(log, entry, broken=broken)))
    extension = x509.UnrecognizedExtension(SCT_LIST, octets(listed))
    return leaf(issuer, key=key, serial=serial, extra=[(extension, False)])


# OCSP and revocation lists.

def staple(about, issuer, signer=None, status=ocsp.OCSPCertStatus.GOOD, at=NOW - DAY, until=NOW + 6 * DAY,
           delegate=None):
    revoked = status == ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=about.cert, issuer=issuer.cert, algorithm=hashes.SHA1(), cert_status=status,
        this_update=at, next_update=until, revocation_time=NOW - 2 * DAY if revoked else None,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None)
    by = delegate or signer or issuer
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, by.cert)
    if delegate:
        builder = builder.certificates([delegate.cert])
    return builder.sign(by.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def revocation_list(issuer, revoked=(), at=NOW - DAY, until=NOW + 6 * DAY):
    builder = (x509.CertificateRevocationListBuilder().issuer_name(issuer.cert.subject)
               .last_update(at).next_update(until)
               .add_extension(x509.CRLNumber(7), critical=False)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
                   issuer.key.public_key()), critical=False))
    for one in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(one.cert.serial_number)
            .revocation_date(NOW - 2 * DAY)
            .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False).build())
    return builder.sign(issuer.key, hashes.SHA256())


def responder(issuer, usage):
    return leaf(issuer, hosts=("ocsp.example",), usage=usage)


ROOT = authority("Sample certificates root")
CA = authority("Sample certificates CA", ROOT)
OTHER = authority("Another CA, which nobody trusts")
LOG = ec_key()
SPKI_PIN = "sha256/" + base64.b64encode(hashlib.sha256(CA.spki).digest()).decode()
WRONG_PIN = "sha256/" + base64.b64encode(bytes(range(32))).decode()


class Case:
    """How a handshake is made, and what must be found in it."""

    def __init__(self, party, checks, tls=None, worst=None, chain=None, host=HOST, verify=False,
                 status=None, serverinfo=None, policy=None, crl=None, fetch=(), staples=False,
                 services=None, resume=None):
        self.party, self.chain, self.host = party, [CA] if chain is None else chain, host
        handshakes = 2 if resume else 1
        self.checks = {f"NS-02.{check}": {outcome: handshakes} for check, outcome in checks.items()}
        self.worst = {f"NS-02.{check}": severity for check, severity in (worst or {}).items()}
        self.tls, self.verify, self.status = tls or {}, verify, status
        self.serverinfo, self.policy, self.crl, self.fetch = serverinfo, policy, crl, fetch
        self.resume = resume
        self.asks = staples or status is not None
        self.services = services or ["http"] * len(fetch) + ["ssl"] * handshakes


def pins(pin):
    return ("network:\n  certificates:\n    pinning:\n      enabled: true\n      pins:\n"
            f"        - host: {HOST}\n          pins: [{pin}]\n")


BAD = {"continued_after_invalid_cert": True}
GOOD = {"continued_after_invalid_cert": False, "validation_status": "passed"}
FINE = {"chain": "passed", "hostname": "passed", "expiration": "passed", "weak_key": "passed",
        "weak_signature": "passed", "self_signed": "passed", "accepted_anyway": "passed"}


def cases():
    cases = {}
    cases["good"] = Case(leaf(CA), FINE | {"revocation": "not_observed", "ct": "not_observed",
                                           "expiring_soon": "passed"},
                         GOOD | {"ocsp_source": "none", "scts_valid": 0})
    expired = leaf(CA, start=NOW - 90 * DAY, end=NOW - DAY)
    cases["expired-accepted"] = Case(
        expired, {"expiration": "failed", "chain": "passed", "accepted_anyway": "failed"}, BAD,
        {"expiration": "high", "accepted_anyway": "critical"})
    cases["expired-refused"] = Case(
        expired, {"expiration": "refused", "refused": "refused", "chain": "passed"},
        {"continued_after_invalid_cert": None, "validation_status": "failed"}, verify=True)
    cases["not-yet-valid"] = Case(leaf(CA, start=NOW + DAY), {"expiration": "failed"}, BAD)
    cases["expiring-soon"] = Case(leaf(CA, end=NOW + 10 * DAY),
                                  FINE | {"expiring_soon": "warned"}, GOOD, {"expiring_soon": "low"})
    cases["wrong-host"] = Case(leaf(CA, hosts=("other.example",)),
                               {"hostname": "failed", "accepted_anyway": "failed"}, BAD,
                               {"hostname": "high"})
    cases["wildcard"] = Case(leaf(CA, hosts=("*.server.example",)), FINE, GOOD, host="a.server.example")
    cases["wildcard-two-labels"] = Case(leaf(CA, hosts=("*.server.example",)), {"hostname": "failed"}, BAD,
                                        host="a.b.server.example")
    cases["wildcard-of-nothing"] = Case(leaf(CA, hosts=("*.server.example",)), {"hostname": "failed"}, BAD)
    cases["unknown-ca"] = Case(leaf(OTHER), {"chain": "failed", "self_signed": "passed",
                                             "accepted_anyway": "failed"}, BAD, {"chain": "high"}, chain=[])
    cases["unknown-root"] = Case(leaf(OTHER), {"chain": "failed", "self_signed": "failed"}, BAD,
                                 {"self_signed": "medium"}, chain=[OTHER])
    cases["unknown-ca-refused"] = Case(leaf(OTHER), {"chain": "refused", "refused": "refused"}, chain=[],
                                       verify=True)
    cases["self-signed"] = Case(leaf(None), {"chain": "failed", "self_signed": "failed"}, BAD, chain=[])
    no_ca = authority("No CA at all", CA, ca=False)
    cases["not-a-ca"] = Case(leaf(no_ca), {"chain": "failed"}, BAD, chain=[no_ca, CA])
    bound = authority("Bound to other.example", CA, constraints="other.example")
    cases["name-constraints"] = Case(leaf(bound), {"chain": "failed"}, BAD, chain=[bound, CA])
    bound = authority("Bound to example", CA, constraints="example")
    cases["name-constraints-kept"] = Case(leaf(bound), FINE, GOOD, chain=[bound, CA])
    cases["for-clients"] = Case(leaf(CA, usage=ExtendedKeyUsageOID.CLIENT_AUTH), {"chain": "failed"}, BAD)
    old = authority("An old CA", CA, key=rsa.generate_private_key(65_537, 2_048))
    cases["sha1"] = Case(with_sha1(leaf(old), old), {"weak_signature": "failed", "chain": "passed"}, {},
                         {"weak_signature": "medium"}, chain=[old, CA])
    cases["rsa-1024"] = Case(leaf(CA, key=rsa.generate_private_key(65_537, 1_024)),
                             {"weak_key": "failed", "chain": "passed"}, {}, {"weak_key": "high"})
    cases["rsa-2048"] = Case(leaf(CA, key=rsa.generate_private_key(65_537, 2_048)), FINE, GOOD)

    # Pins: the CA's key, and none of the chain's.
    cases["pin-match"] = Case(leaf(CA), FINE | {"pin": "passed"}, GOOD, policy=pins(SPKI_PIN))
    cases["pin-mismatch"] = Case(leaf(CA), {"pin": "failed", "accepted_anyway": "failed"}, BAD,
                                 {"pin": "critical"}, policy=pins(WRONG_PIN))

    # Stapled OCSP responses.
    one = leaf(CA)
    good = {"ocsp_source": "stapled", "ocsp_status": "good"}
    cases["staple-good"] = Case(one, FINE | {"revocation": "passed"}, GOOD | good, status=staple(one, CA))
    cases["staple-revoked"] = Case(
        one, {"revocation": "failed", "chain": "passed", "accepted_anyway": "failed"},
        BAD | {"ocsp_source": "stapled", "ocsp_status": "revoked"}, {"revocation": "critical"},
        status=staple(one, CA, status=ocsp.OCSPCertStatus.REVOKED))
    invalid = {"ocsp_source": "stapled", "ocsp_status": "invalid"}
    medium = {"revocation": "medium"}
    cases["staple-expired"] = Case(one, {"revocation": "failed"}, invalid, medium,
                                   status=staple(one, CA, at=NOW - 9 * DAY, until=NOW - DAY))
    cases["staple-of-tomorrow"] = Case(one, {"revocation": "failed"}, invalid, medium,
                                       status=staple(one, CA, at=NOW + DAY, until=NOW + 9 * DAY))
    cases["staple-unknown"] = Case(one, {"revocation": "failed"},
                                   {"ocsp_source": "stapled", "ocsp_status": "unknown"}, medium,
                                   status=staple(one, CA, status=ocsp.OCSPCertStatus.UNKNOWN))
    cases["staple-of-another"] = Case(one, {"revocation": "failed"}, invalid, medium,
                                      status=staple(leaf(CA), CA))
    cases["staple-wrong-responder"] = Case(one, {"revocation": "failed"}, invalid, medium,
                                           status=staple(one, CA, signer=OTHER))
    whole = staple(one, CA)
    cases["staple-forged"] = Case(one, {"revocation": "failed"}, invalid, medium,
                                  status=whole[:-1] + bytes([whole[-1] ^ 1]))
    cases["staple-delegated"] = Case(
        one, FINE | {"revocation": "passed"}, GOOD | good,
        status=staple(one, CA, delegate=responder(CA, ExtendedKeyUsageOID.OCSP_SIGNING)))
    cases["staple-not-delegated"] = Case(
        one, {"revocation": "failed"}, invalid, medium,
        status=staple(one, CA, delegate=responder(CA, ExtendedKeyUsageOID.SERVER_AUTH)))
    cases["staple-delegated-by-another"] = Case(
        one, {"revocation": "failed"}, invalid, medium,
        status=staple(one, CA, delegate=responder(OTHER, ExtendedKeyUsageOID.OCSP_SIGNING)))
    cases["staple-refusal"] = Case(
        one, {"revocation": "failed"}, invalid, medium,
        status=ocsp.OCSPResponseBuilder.build_unsuccessful(
            ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(serialization.Encoding.DER))
    feature = x509.TLSFeature([x509.TLSFeatureType.status_request])
    must = leaf(CA, extra=[(feature, False)])
    cases["must-staple-missing"] = Case(
        must, {"revocation": "failed", "chain": "passed", "accepted_anyway": "failed"},
        {"ocsp_source": "none"}, medium, staples=True)
    cases["must-staple-not-asked"] = Case(must, FINE | {"revocation": "not_observed"}, GOOD)
    cases["must-staple-kept"] = Case(must, FINE | {"revocation": "passed"}, GOOD | good,
                                     status=staple(must, CA))

    # Revocation lists that the user gives.
    cases["list-revoked"] = Case(one, {"revocation": "failed", "accepted_anyway": "failed"},
                                 BAD | {"crl_status": "revoked"}, {"revocation": "critical"},
                                 crl=revocation_list(CA, [one]))
    cases["list-good"] = Case(one, FINE | {"revocation": "passed"}, GOOD | {"crl_status": "good"},
                              crl=revocation_list(CA, [leaf(CA)]))
    cases["list-expired"] = Case(one, FINE | {"revocation": "not_observed"}, {"crl_status": "not_covered"},
                                 crl=revocation_list(CA, at=NOW - 9 * DAY, until=NOW - DAY))
    cases["list-expired-revoked"] = Case(one, {"revocation": "failed"}, {"crl_status": "revoked"},
                                         {"revocation": "critical"},
                                         crl=revocation_list(CA, [one], NOW - 9 * DAY, NOW - DAY))
    cases["list-forged"] = Case(one, FINE | {"revocation": "not_observed"}, {"crl_status": "unverified"},
                                crl=revocation_list(Party(CA.cert, OTHER.key), [one]))

    # What somebody fetched over HTTP before.
    revoked = staple(one, CA, status=ocsp.OCSPCertStatus.REVOKED)
    cases["fetched-response"] = Case(
        one, {"revocation": "failed", "chain": "passed"},
        BAD | {"ocsp_source": "http_in_capture", "ocsp_status": "revoked"}, {"revocation": "critical"},
        fetch=[("application/ocsp-response", revoked)])
    cases["fetched-good-response"] = Case(
        one, FINE | {"revocation": "passed"},
        GOOD | {"ocsp_source": "http_in_capture", "ocsp_status": "good"},
        fetch=[("application/ocsp-response", staple(one, CA))])
    cases["fetched-list"] = Case(
        one, {"revocation": "failed"}, BAD | {"crl_status": "revoked", "ocsp_source": "none"},
        {"revocation": "critical"},
        fetch=[("application/pkix-crl",
                revocation_list(CA, [one]).public_bytes(serialization.Encoding.DER))])
    aia = x509.AuthorityInformationAccess([x509.AccessDescription(
        AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.example/ca.cer"))])
    lazy = leaf(CA, extra=[(aia, False)])
    cases["incomplete"] = Case(lazy, {"chain": "failed"}, BAD | {"chain_completed_by": []}, chain=[])
    cases["fetched-issuer"] = Case(
        lazy, FINE, GOOD | {"chain_completed_by": [hashlib.sha256(CA.der).hexdigest()]}, chain=[],
        fetch=[("application/pkix-cert", CA.der)])

    # A resumed session shows no certificate; it has that of the session it resumes.
    old = {"expiration": "failed", "accepted_anyway": "failed"}
    for kind in ("id", "ticket"):
        shown = {"cert_visibility": "visible", "resumed": False, "resumed_from_flow_id": None}
        inherited = {"cert_visibility": "resumed", "resumed": True, "resumption_kind": kind,
                     "leaf_fingerprint": hashlib.sha256(expired.der).hexdigest()}
        cases[f"resumed-by-{kind}"] = Case(expired, old, [BAD | shown, BAD | inherited], resume=kind)

    # Certificate transparency.
    embedded = {"scts_valid": 1, "scts_invalid": 0, "sct_logs": 1, "sct_sources": ["certificate"]}
    cases["timestamp"] = Case(sct_leaf(CA, LOG), FINE | {"ct": "passed"}, GOOD | embedded)
    cases["timestamp-forged"] = Case(
        sct_leaf(CA, LOG, broken=True), FINE | {"ct": "warned"},
        GOOD | {"scts_valid": 0, "scts_invalid": 1}, {"ct": "low"})
    cases["timestamp-of-unknown-log"] = Case(
        sct_leaf(CA, ec_key()), FINE | {"ct": "not_observed"},
        GOOD | {"scts_valid": 0, "scts_invalid": 0, "sct_logs": 1})
    plain = b"\0\0" + len(one.der).to_bytes(3, "big") + one.der
    cases["timestamp-in-handshake"] = Case(
        one, FINE | {"ct": "passed"}, GOOD | {"scts_valid": 1, "sct_sources": ["tls"]},
        serverinfo=vec16(vec16(timestamp(LOG, plain))))
    cases["timestamp-in-handshake-forged"] = Case(
        one, FINE | {"ct": "warned"}, {"scts_invalid": 1, "sct_sources": ["tls"]},
        serverinfo=vec16(vec16(timestamp(LOG, plain, broken=True))))
    cases["timestamp-list-malformed"] = Case(
        one, FINE | {"ct": "warned"}, {"scts_valid": 0, "scts_invalid": 0},
        serverinfo=vec16(vec16(timestamp(LOG, plain))[:-1]))
    return cases


def fixtures():
    """What unit tests and fuzzers start from; one leaf, so that all fits together."""
    must = x509.TLSFeature([x509.TLSFeatureType.status_request])
    one, strict = leaf(CA), leaf(CA, extra=[(must, False)])
    plain = b"\0\0" + len(one.der).to_bytes(3, "big") + one.der
    der = serialization.Encoding.DER
    delegate = responder(CA, ExtendedKeyUsageOID.OCSP_SIGNING)
    return {
        "leaf.pem": one.pem, "must-staple.pem": strict.pem, "ca.pem": CA.pem,
        "timestamp.pem": sct_leaf(CA, LOG).pem,
        "ocsp-good.der": staple(one, CA), "ocsp-delegated.der": staple(one, CA, delegate=delegate),
        "ocsp-revoked.der": staple(one, CA, status=ocsp.OCSPCertStatus.REVOKED),
        "ocsp-old.der": staple(one, CA, at=NOW - 9 * DAY, until=NOW - DAY),
        "ocsp-of-ca.der": staple(CA, ROOT),
        "ocsp-ca-revoked.der": staple(CA, ROOT, status=ocsp.OCSPCertStatus.REVOKED),
        "crl.der": revocation_list(CA, [leaf(CA) for _ in range(3)]).public_bytes(der),
        "crl-revoked.der": revocation_list(CA, [leaf(CA), one, leaf(CA)]).public_bytes(der),
        "scts.bin": vec16(vec16(timestamp(LOG, plain))),
        "scts-forged.bin": vec16(vec16(timestamp(LOG, plain, broken=True))),
    }


# Recording.

class Namespace:
    def __init__(self):
        self.name = f"nsf-certificates-{os.getpid()}"

    def __enter__(self):
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "netns", "delete", self.name], check=False)

    def command(self, *command):
        return ["ip", "netns", "exec", self.name, *map(str, command)]


SERVE = """
import http.server, sys
kind, path, port = sys.argv[1:]
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open(path, "rb").read()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(port)), Answer).handle_request()
"""


def wait_for(namespace, port):
    """Until somebody listens; asks the kernel, so that no packet is recorded."""
    for _ in range(100):
        shown = subprocess.run(namespace.command("ss", "-Hltn", f"sport = :{port}"),
                               capture_output=True, text=True, check=False).stdout
        if shown.strip():
            return
        time.sleep(0.05)
    raise SystemExit(f"nobody listens on port {port}")


def record(namespace, work, name, case):
    def put(file, content):
        path = work / file
        path.write_bytes(content)
        return path

    capture = work / f"{name}.pcap"
    dump = subprocess.Popen(
        namespace.command("tcpdump", "-i", "lo", "--immediate-mode", "-U", "-q", "-w", capture,
                          "tcp"), stderr=subprocess.PIPE, text=True)
    for line in dump.stderr:
        if "listening on" in line:
            break
    for number, (kind, body) in enumerate(case.fetch):
        port = 80 + number
        server = subprocess.Popen(namespace.command(sys.executable, "-c", SERVE, kind,
                                                    put("body", body), port))
        wait_for(namespace, port)
        subprocess.run(namespace.command("curl", "-s", "-o", "/dev/null", "--max-time", "5",
                                         f"http://127.0.0.1:{port}/file"), check=True)
        server.wait(10)
    server = ["openssl", "s_server", "-accept", "127.0.0.1:443", "-www", "-tls1_2", "-naccept",
              "2" if case.resume else "1",
              "-cert", put("leaf.pem", case.party.pem), "-key", put("leaf.key", case.party.key_pem),
              "-cipher", "ALL:@SECLEVEL=0"]
    if case.resume != "ticket":
        server.append("-no_ticket")
    if case.chain:
        server += ["-cert_chain", put("chain.pem", b"".join(one.pem for one in case.chain))]
    if case.status:
        server += ["-status_file", put("status.der", case.status)]
    if case.serverinfo:
        # ssl/ssl_rsa.c: a version 1 block, that is type, length and content.
        block = (18).to_bytes(2, "big") + vec16(case.serverinfo)
        pem = (b"-----BEGIN SERVERINFO FOR SCT-----\n" + base64.encodebytes(block)
               + b"-----END SERVERINFO FOR SCT-----\n")
        server += ["-serverinfo", put("serverinfo.pem", pem)]
    serving = subprocess.Popen(namespace.command(*server), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    wait_for(namespace, 443)
    client = ["openssl", "s_client", "-connect", "127.0.0.1:443", "-servername", case.host, "-tls1_2",
              "-cipher", "ALL:@SECLEVEL=0", "-CAfile", put("root.pem", ROOT.pem), "-ign_eof"]
    if case.asks:
        client.append("-status")
    if case.serverinfo:
        client += ["-serverinfo", "18"]
    if case.verify:
        client.append("-verify_return_error")
    session = work / "session.pem"
    turns = [["-sess_out", session], ["-sess_in", session]] if case.resume else [[]]
    for turn in turns:
        ended = subprocess.run(namespace.command(*client, *turn), input=b"GET / HTTP/1.0\r\n\r\n",
                               timeout=20, capture_output=True, check=False)
        if (ended.returncode != 0) != case.verify:
            raise SystemExit(f"{name}: {ended.stderr.decode()}")
    serving.wait(10)
    time.sleep(0.2)
    dump.terminate()
    dump.wait(10)
    (OUT / f"{name}.pcap").write_bytes(capture.read_bytes())
    expectation = {"capture": f"{name}.pcap", "services": case.services, "checks": case.checks,
                   "worst": case.worst,
                   "tls": case.tls if isinstance(case.tls, list) else [case.tls], "roots": "root.pem", "ct_logs": "log.pem"}
    if case.policy:
        expectation["policy"] = case.policy
    if case.crl is not None:
        (OUT / f"{name}.crl.pem").write_bytes(case.crl.public_bytes(serialization.Encoding.PEM))
        expectation["crl"] = f"{name}.crl.pem"
    text = json.dumps(expectation, indent=1, sort_keys=True)
    (OUT / f"{name}.expect.json").write_text(text + "\n", encoding="utf-8")


def main():
    OUT.mkdir(exist_ok=True)
    for old in OUT.rglob("*.*"):
        old.unlink()
    (OUT / "unit").mkdir(exist_ok=True)
    for file, content in fixtures().items():
        (OUT / "unit" / file).write_bytes(content)
    (OUT / "root.pem").write_bytes(ROOT.pem)
    (OUT / "log.pem").write_bytes(LOG.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    with Namespace() as namespace, tempfile.TemporaryDirectory() as work:
        for name, case in cases().items():
            record(namespace, Path(work), name, case)
            print(name)


main()
