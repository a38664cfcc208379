#!/usr/bin/env python3
"""Writes ct-logs.tsv, the public keys of certificate transparency logs, from
published lists: Google's and Apple's log_list.json of any version, or any text
that quotes them (a line `"description": "..."` before each `"key": "..."`).

    python3 rules/make-ct-logs.py FILE... > ct-logs.new

A former ct-logs.tsv may be among the files: logs are only ever added. Keys that
are no points of their curve are refused, where Python's `cryptography` is there
to tell. The list in this project was made from these, copies of Google's list:

    ctutlz/really_all_logs.json of the PyPI package ctutlz 0.9.8 (2020-05, MIT)
    src/lib.rs of the crate ct-logs 0.9.0 (2021-08, Apache-2.0 OR ISC OR MIT)
    TRUSTED_LOG_KEYS in SslConnectionCheckingTest.java of
        github.com/djp3/certificate-transparency-java (2025, logs of 2024 to 2026, Apache-2.0)
"""
import base64
import binascii
import hashlib
import re
import sys

try:
    from cryptography.hazmat.primitives.serialization import load_der_public_key
except ImportError:
    load_der_public_key = bytes

FIELD = re.compile(r'"(description|key)":\s*"([^"]*)"')


def pairs(text):
    """Names and keys of a text, in its order."""
    name = ""
    for line in text.splitlines():
        key, tab, log = line.partition("\t")
        if tab and not line.startswith("#"):
            yield log, key
    for field, value in FIELD.findall(text):
        if field == "description":
            name = value
        else:
            yield name, value


logs = {}
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        for name, value in pairs(file.read()):
            try:
                der = base64.b64decode(value, validate=True)
                load_der_public_key(der)
            except (binascii.Error, ValueError):
                continue
            logs[hashlib.sha256(der).hexdigest()] = (value, " ".join(name.split()))

print("# Public keys of certificate transparency logs (SubjectPublicKeyInfo, base64) and their names,")
print("# by the SHA-256 of the key, which is the log's id (RFC 6962 section 3.2). Made by make-ct-logs.py")
print("# from copies of Google's published lists as of 2020, 2021 and 2025. Later logs: --ct-logs FILE.")
for _, (key, name) in sorted(logs.items()):
    print(f"{key}\t{name}")
