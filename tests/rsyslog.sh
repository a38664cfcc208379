#!/usr/bin/env bash
# Alerts against a real rsyslog, over TCP and TLS: each delivered once; with the
# collector down, later and once. Needs rsyslogd (with its gtls or ossl driver for
# TLS) and openssl; says so and ends well where they are not there.
#
#   tests/rsyslog.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/debug/nsforensics}")
for tool in rsyslogd openssl; do
    command -v "$tool" >/dev/null || { echo "SKIPPED: no $tool on this machine"; exit 0; }
done
driver=
for name in gtls ossl; do
    if find / -xdev -path '*rsyslog*' -name "lmnsd_$name.so" -print -quit 2>/dev/null | grep -q .; then
        driver=$name
    fi
done

work=$(mktemp -d)
pid=
finish() { [ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$work"; }
trap finish EXIT
free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
tcp=$(free_port)
tls=$(free_port)

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=a root for this test" \
    -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$work/key.pem" -out "$work/csr.pem" 2>/dev/null
openssl x509 -req -in "$work/csr.pem" -CA "$work/ca.pem" -CAkey "$work/ca.key" -days 2 \
    -extfile <(echo subjectAltName=DNS:localhost) -out "$work/cert.pem" 2>/dev/null
{
    echo "global(workDirectory=\"$work\")"
    if [ -n "$driver" ]; then
        echo "global(defaultNetstreamDriverCAFile=\"$work/ca.pem\" defaultNetstreamDriverCertFile=\"$work/cert.pem\" defaultNetstreamDriverKeyFile=\"$work/key.pem\")"
    fi
    echo "template(name=\"raw\" type=\"string\" string=\"%pri% %msgid% %structured-data% %msg%\\n\")"
    echo "ruleset(name=\"tcp\") { action(type=\"omfile\" file=\"$work/tcp.log\" template=\"raw\") }"
    echo "ruleset(name=\"tls\") { action(type=\"omfile\" file=\"$work/tls.log\" template=\"raw\") }"
    echo "module(load=\"imptcp\")"
    echo "input(type=\"imptcp\" address=\"127.0.0.1\" port=\"$tcp\" ruleset=\"tcp\")"
    if [ -n "$driver" ]; then
        echo "module(load=\"imtcp\" streamDriver.name=\"$driver\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")"
        echo "input(type=\"imtcp\" address=\"127.0.0.1\" port=\"$tls\" ruleset=\"tls\")"
    fi
} >"$work/rsyslog.conf"
start() {
    rsyslogd -n -f "$work/rsyslog.conf" -i "$work/pid" >"$work/rsyslogd.out" 2>&1 &
    pid=$!
    for _ in $(seq 100); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$tcp") 2>/dev/null; then return; fi
        sleep 0.1
    done
    cat "$work/rsyslogd.out"
    echo "rsyslogd did not start"
    exit 1
}
stop() { kill "$pid"; wait "$pid" 2>/dev/null || true; pid=; }

{
    printf 'monitoring:\n  network:\n    alerts:\n      destinations:\n'
    printf '        - {type: syslog, facility: security, url: "tcp://127.0.0.1:%s"}\n' "$tcp"
    if [ -n "$driver" ]; then
        printf '        - {type: syslog, facility: security, url: "tls://localhost:%s"}\n' "$tls"
    fi
    # Everything is told, so that there is something to count.
    printf 'verdicts:\n  fail_at: info\n'
} >"$work/policy.yaml"
SECRET_KEY="a key for this test only: $(head -c 24 /dev/urandom | base64)"
export SECRET_KEY SSL_CERT_FILE="$work/ca.pem"

# Every alert of the journal arrived, and none twice.
check() {
    local log=$1 journal=$2 queued arrived different
    queued=$(grep -c '"event":"queued"' "$journal")
    for _ in $(seq 50); do
        arrived=$(cat "$log" 2>/dev/null | wc -l)
        [ "$arrived" -ge "$queued" ] && break
        sleep 0.1
    done
    different=$(grep -o ' id="[0-9a-f]*"' "$log" | sort -u | wc -l)
    echo "$(basename "$log"): $queued queued, $arrived arrived, $different different"
    [ "$arrived" = "$queued" ] && [ "$different" = "$queued" ]
    grep -q '^3[2-9] ' "$log"   # facility 4
}

start
run=$("$binary" analyze samples/agent.pcap --policy "$work/policy.yaml" --quiet --out "$work/up")
check "$work/tcp.log" "$run.alerts.jsonl"
if [ -n "$driver" ]; then check "$work/tls.log" "$run.alerts.jsonl"; else echo "SKIPPED: rsyslog has no TLS driver here"; fi
"$binary" verify "$run" >/dev/null
stop

rm -f "$work"/t*.log
run=$("$binary" analyze samples/agent.pcap --policy "$work/policy.yaml" --quiet --out "$work/down" 2>/dev/null)
"$binary" alerts status "$run" >/dev/null && { echo "nothing is owed, with the collector down"; exit 1; }
start
"$binary" alerts deliver "$run"
check "$work/tcp.log" "$run.alerts.jsonl"
if [ -n "$driver" ]; then check "$work/tls.log" "$run.alerts.jsonl"; fi
"$binary" alerts deliver "$run" >/dev/null
check "$work/tcp.log" "$run.alerts.jsonl"
"$binary" verify "$run" >/dev/null
echo "rsyslog: all delivered, once each"
