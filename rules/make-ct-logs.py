#!/usr/bin/env python3
"""Writes ct-logs.tsv, the public keys of certificate transparency logs, from
published lists: Google's and Apple's log_list.json of any version, or any text
that quotes them (a line `"description": "..."` before each `"key": "..."`).

    python3 rules/make-ct-logs.py FILE... > rules/ct-logs.tsv

The list in this project was made from those two, both copies of Google's list:

    ctutlz/really_all_logs.json of the PyPI package ctutlz 0.9.8 (2020-05, MIT)
    src/lib.rs of the crate ct-logs 0.9.0 (2021-08, Apache-2.0 OR ISC OR MIT)
"""
import base64
import binascii
import hashlib
import re
import sys

FIELD = re.compile(r'"(description|key)":\s*"([^"]*)"')

logs = {}
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        name = ""
        for field, value in FIELD.findall(file.read()):
            if field == "description":
                name = value
                continue
            try:
                der = base64.b64decode(value, validate=True)
            except binascii.Error:
                continue
            logs[hashlib.sha256(der).hexdigest()] = (value, " ".join(name.split()))

print("# Public keys of certificate transparency logs (SubjectPublicKeyInfo, base64) and their names,")
print("# by the SHA-256 of the key, which is the log's id (RFC 6962 section 3.2). Made by make-ct-logs.py")
print("# from Google's published lists as of 2020-05 and 2021-08. Later logs: --ct-logs FILE.")
for _, (key, name) in sorted(logs.items()):
    print(f"{key}\t{name}")
