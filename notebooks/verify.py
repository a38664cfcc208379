"""Verify a sealed run with nothing but Python: SECRET_KEY=... python3 verify.py RUN

The format is described in docs/seal.md. Exits 0 when the run is intact, else
prints every file that is not and exits 1; 2 when called without a run or a key.
"""
import hashlib, hmac, json, os, re, sys

def derive(secret, label):  # HKDF-SHA256 without salt, one block (RFC 5869)
    return hmac.digest(hmac.digest(bytes(32), secret, "sha256"), label.encode() + b"\x01", "sha256")

def verify(run, secret):
    later = f"manifest.{derive(secret, 'nsforensics/v1/key-id')[:8].hex()}.json"  # of a re-sealed run
    name = later if os.path.exists(os.path.join(run, later)) else "manifest.json"
    raw = open(os.path.join(run, name), "rb").read()
    try:
        manifest = json.loads(raw)
        canon = lambda value: json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        sealed = canon({key: value for key, value in manifest.items() if key != "hmac"})
        expected = hmac.digest(derive(secret, "nsforensics/v1/manifest"), sealed, "sha256").hex()
        if canon(manifest) != raw or not hmac.compare_digest(manifest["hmac"], expected):
            return [f"{name}: changed, or sealed with another key"]
    except (ValueError, KeyError, AttributeError, TypeError):
        return [f"{name}: not a manifest"]
    wrong = [] if manifest["run_id"] == os.path.basename(os.path.realpath(run)) else [f"{name}: of another run"]
    files = {output["path"]: output for output in manifest["outputs"]}
    seals = {"manifest.json"} | {entry for entry in os.listdir(run) if re.fullmatch(r"manifest\.[0-9a-f]{16}\.json", entry)}
    wrong += [f"{entry}: added" for entry in set(os.listdir(run)) - set(files) - seals]
    for name, output in files.items():
        path = os.path.join(run, name)
        data = open(path, "rb").read() if os.path.isfile(path) and not os.path.islink(path) else b""
        mac = hmac.digest(derive(secret, "nsforensics/v1/file"), data, "sha256").hex()
        if not hmac.compare_digest(mac, output["hmac_sha256"]) or hashlib.sha256(data).hexdigest() != output["sha256"]:
            wrong.append(f"{name}: changed or missing")
    return wrong

if __name__ == "__main__":
    if len(sys.argv) != 2 or b"SECRET_KEY" not in os.environb: sys.exit(print("usage: SECRET_KEY=... python3 verify.py RUN", file=sys.stderr) or 2)
    sys.exit("\n".join(sorted(verify(sys.argv[1], os.environb[b"SECRET_KEY"]))) or print("intact"))  # text: printed, code 1
