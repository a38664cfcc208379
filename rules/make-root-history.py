#!/usr/bin/env python3
"""Rebuilds the history of Mozilla's root programme from the dated releases of
the PyPI package certifi, each of which carries the programme's server roots of
its day (certifi's bundle is made from NSS's certdata.txt; MPL-2.0).

Writes roots/mozilla.tsv (which root was in from when to when) and
roots/mozilla.pem (every root once, in the order of its SHA-256). Downloads go
through pip into a folder that is kept, so that a second run is quick:

    python3 rules/make-root-history.py [FOLDER]

Needs pip and the `openssl` program (for the names of the subjects).
"""
import base64
import hashlib
import io
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent / "roots"
# Earlier releases have no dates for names.
FIRST = (2015, 4, 28)
BLOCK = re.compile(
    rb"-----BEGIN CERTIFICATE-----\s*(.*?)-----END CERTIFICATE-----", re.DOTALL)


def versions():
    """Every dated release, oldest first; of one day only the last."""
    shown = subprocess.run(
        [sys.executable, "-m", "pip", "index", "versions", "certifi"],
        check=True, capture_output=True, text=True).stdout
    names = re.search(r"Available versions: (.*)", shown).group(1).split(", ")
    by_day = {}
    for name in reversed(names):
        parts = re.findall(r"\d+", name)
        day = tuple(int(part) for part in parts[:3])
        if len(day) == 3 and day >= FIRST:
            by_day[day] = name
    return sorted(by_day.items())


def bundle(folder, version):
    """The cacert.pem of one release."""
    kept = folder / f"{version}.pem"
    if kept.exists():
        return kept.read_bytes()
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
             "--disable-pip-version-check", "--dest", temporary, f"certifi=={version}"],
            check=True)
        (archive,) = pathlib.Path(temporary).iterdir()
        content = archive.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            pem = wheel.read("certifi/cacert.pem")
    else:
        with tarfile.open(fileobj=io.BytesIO(content)) as source:
            (name,) = [n for n in source.getnames() if n.endswith("certifi/cacert.pem")]
            pem = source.extractfile(name).read()
    kept.write_bytes(pem)
    return pem


def subject(der):
    """One line for people; tabs and line ends cannot occur in it."""
    line = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "RFC2253,utf8,-esc_msb"],
        check=True, capture_output=True, input=der).stdout.decode()
    return line.split("=", 1)[1].strip().replace("\t", " ")


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "certifi-releases")
    folder.mkdir(parents=True, exist_ok=True)
    ders, spans, before, last = {}, [], {}, None
    for day, version in versions():
        date = "%04d-%02d-%02d" % day
        now = {}
        for block in BLOCK.findall(bundle(folder, version)):
            der = base64.b64decode(block)
            now[hashlib.sha256(der).hexdigest()] = der
        if len(now) < 100:
            raise SystemExit(f"certifi {version} holds only {len(now)} roots")
        ders.update(now)
        for gone in [digest for digest in before if digest not in now]:
            spans.append((gone, before.pop(gone), date))
        for digest in now:
            before.setdefault(digest, date)
        last = version
    spans.extend((digest, since, "") for digest, since in before.items())
    lines = [
        "# Mozilla's server roots: SHA-256, first and first-not-included date, subject.",
        "# Dates are those of the certifi releases that first had, or no longer had, the root;",
        "# without a second date the root is in the last release. An earlier capture is judged",
        "# by the first release. Made by rules/make-root-history.py; data: MPL-2.0 (Mozilla).",
        f"# first: {spans and min(span[1] for span in spans)}, last release: certifi {last}",
    ]
    for digest, since, until in sorted(spans):
        lines.append(f"{digest}\t{since}\t{until}\t{subject(ders[digest])}")
    (HERE / "mozilla.tsv").write_text("\n".join(lines) + "\n")
    pem = []
    for digest in sorted(ders):
        text = base64.b64encode(ders[digest]).decode()
        pem.append("-----BEGIN CERTIFICATE-----")
        pem.extend(text[at:at + 64] for at in range(0, len(text), 64))
        pem.append("-----END CERTIFICATE-----")
    (HERE / "mozilla.pem").write_text("\n".join(pem) + "\n")
    print(f"{len(ders)} roots, {len(spans)} spans, up to certifi {last}")


if __name__ == "__main__":
    main()
