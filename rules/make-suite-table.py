#!/usr/bin/env python3
"""Writes engine/src/proto/tls/suite_table.rs from IANA's TLS cipher suite registry.

Usage:  rules/make-suite-table.py tls-parameters-4.csv > engine/src/proto/tls/suite_table.rs

The CSV is the one that IANA publishes for "TLS Cipher Suites" (columns Value and
Description). Ranges, reserved and unassigned rows are left out; everything that
nsforensics knows about a suite beyond its code and name is derived from the name
in suites.rs, so a registry update needs nothing but this script.
"""
import csv
import re
import sys

rows = []
with open(sys.argv[1], newline="") as registry:
    for row in csv.DictReader(registry):
        code = re.fullmatch(r"0x([0-9A-F]{2}),0x([0-9A-F]{2})", row["Value"])
        if code and row["Description"].startswith("TLS_"):
            rows.append((int(code[1] + code[2], 16), row["Description"]))
rows.sort()

print("//! Codes and names of the TLS cipher suites, from IANA's registry by")
print("//! `rules/make-suite-table.py`. Not edited by hand; sorted by code.")
print()
print("/// `(code, name)` of every suite that IANA has assigned.")
print("pub(super) static IANA: &[(u16, &str)] = &[")
for code, name in rows:
    print(f'    (0x{code:04x}, "{name}"),')
print("];")
