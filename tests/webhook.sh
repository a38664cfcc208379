#!/usr/bin/env bash
# Alerts against a real HTTPS server: each delivered once; with the server slow,
# answering 500, down, or killed in the middle, and with the sender killed in the
# middle: later, none lost, none twice for who looks at the idempotency key.
# Needs python3 and openssl; says so and ends well where they are not there.
#
#   tests/webhook.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/debug/nsforensics}")
for tool in python3 openssl setsid; do
    command -v "$tool" >/dev/null || { echo "SKIPPED: no $tool on this machine"; exit 0; }
done

work=$(mktemp -d)
pid=
finish() { [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true; rm -rf "$work"; }
trap finish EXIT
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=a root for this test" \
    -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$work/key.pem" -out "$work/csr.pem" 2>/dev/null
openssl x509 -req -in "$work/csr.pem" -CA "$work/ca.pem" -CAkey "$work/ca.key" -days 2 \
    -extfile <(echo subjectAltName=DNS:localhost) -out "$work/cert.pem" 2>/dev/null
cat "$work/cert.pem" "$work/key.pem" >"$work/server.pem"

# Answers as the file `mode` says; writes what it accepted, a line each: the key,
# and whether the signature holds.
cat >"$work/server.py" <<'PYTHON'
import hashlib, hmac, http.server, json, pathlib, ssl, sys, time
work, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        mode, _, wait = (work / "mode").read_text().strip().partition(" ")
        time.sleep(float(wait or 0))
        if mode == "ok":
            parts = dict(part.split("=") for part in self.headers["X-Nsforensics-Signature"].split(","))
            key = bytes.fromhex((work / "hook.key").read_text())
            mac = hmac.new(key, f"{parts['t']}.".encode() + body, "sha256").hexdigest()
            is_good = hmac.compare_digest(mac, parts["v1"])
            is_its = json.loads(body)["id"] == self.headers["Idempotency-Key"]
            with open(work / "accepted", "a") as log:
                log.write(f"{self.headers['Idempotency-Key']} {is_good and is_its}\n")
        self.send_response(200 if mode == "ok" else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(work / "server.pem")
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
PYTHON
start() {
    python3 "$work/server.py" "$work" "$port" >"$work/server.out" 2>&1 &
    pid=$!
    for _ in $(seq 100); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
        sleep 0.1
    done
    cat "$work/server.out"
    echo "the server did not start"
    exit 1
}
stop() { kill -9 "$pid"; wait "$pid" 2>/dev/null || true; pid=; }

{
    printf 'monitoring:\n  network:\n    alerts:\n      destinations:\n'
    # shellcheck disable=SC2016
    printf '        - {type: webhook, url: "${ALERT_WEBHOOK_URL}"}\n'
    # Everything is told, so that there is something to count.
    printf 'verdicts:\n  fail_at: info\n'
} >"$work/policy.yaml"
SECRET_KEY="a key for this test only: $(head -c 24 /dev/urandom | base64)"
ALERT_WEBHOOK_URL="https://localhost:$port/hook"
export SECRET_KEY ALERT_WEBHOOK_URL SSL_CERT_FILE="$work/ca.pem"
"$binary" alerts signing-key "$work/hook.key" >/dev/null

analyze() {
    rm -f "$work/accepted"
    "$binary" analyze samples/agent.pcap --policy "$work/policy.yaml" --quiet --out "$work/$1" \
        --alert-timeout 1 2>/dev/null
}
deliver() { "$binary" alerts deliver "$1" --timeout 1 >/dev/null 2>&1; }
# Nothing is accepted yet, and `status` says that it is owed.
spooled() {
    [ ! -e "$work/accepted" ] || { echo "$1: something was accepted"; exit 1; }
    ! "$binary" alerts status "$2" >/dev/null || { echo "$1: nothing is owed"; exit 1; }
}
# Every alert of the journal arrived; none twice but for so many that were in flight.
check() {
    local queued accepted different
    queued=$(grep -c '"event":"queued"' "$2.alerts.jsonl")
    accepted=$(wc -l <"$work/accepted")
    different=$(cut -d' ' -f1 "$work/accepted" | sort -u | wc -l)
    echo "$1: $queued queued, $accepted accepted, $different different"
    [ "$different" = "$queued" ] && [ "$accepted" -le $((queued + $3)) ]
    ! grep -v ' True$' "$work/accepted" || { echo "$1: a signature does not hold"; exit 1; }
    "$binary" alerts status "$2" >/dev/null
    "$binary" verify "$2" >/dev/null
}

echo ok >"$work/mode"
start
run=$(analyze up)
check "up" "$run" 0
deliver "$run"
check "asked again" "$run" 0

for trouble in "fail" "fail 2"; do
    echo "$trouble" >"$work/mode"
    run=$(analyze "trouble-${trouble// /-}")
    spooled "$trouble" "$run"
    echo ok >"$work/mode"
    deliver "$run"
    check "after ${trouble/fail 2/no answer}" "$run" 0
done

echo ok >"$work/mode"
stop
run=$(analyze down)
spooled "down" "$run"
start
deliver "$run"
check "after down" "$run" 0

# The receiver killed in the middle.
echo "ok 0.1" >"$work/mode"
(
    until [ "$(wc -l 2>/dev/null <"$work/accepted" || echo 0)" -ge 3 ]; do sleep 0.02; done
    kill -9 "$pid"
) &
killer=$!
run=$(analyze receiver-killed)
wait "$killer"
wait "$pid" 2>/dev/null || true
! "$binary" alerts status "$run" >/dev/null || { echo "the kill came too late"; exit 1; }
echo ok >"$work/mode"
start
deliver "$run"
check "receiver killed" "$run" 1

# The sender killed in the middle, and the process that it started.
echo "ok 0.1" >"$work/mode"
rm -f "$work/accepted"
setsid "$binary" analyze samples/agent.pcap --policy "$work/policy.yaml" --quiet \
    --out "$work/sender-killed" >/dev/null 2>&1 &
sender=$!
until [ "$(wc -l 2>/dev/null <"$work/accepted" || echo 0)" -ge 3 ]; do sleep 0.02; done
kill -9 -- "-$sender"
wait "$sender" 2>/dev/null || true
run=$(echo "$work"/sender-killed/*/)
run=${run%/}
sleep 0.3
! "$binary" alerts status "$run" >/dev/null || { echo "the kill came too late"; exit 1; }
echo ok >"$work/mode"
deliver "$run"
check "sender killed" "$run" 1
echo "webhook: all delivered, once each"
