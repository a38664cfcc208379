#!/usr/bin/env bash
# Records samples/decrypted/: one short connection or two for each way of
# protecting TLS records, with the secrets of the client's key log, and writes
# what must be found in each from the steps below. Needs root, iproute2,
# tcpdump, editcap (Wireshark), openssl 3, nginx, curl and GnuTLS's tools. It works
# in a network namespace of its own that reaches nothing else; the recorded
# sessions carry nothing but made-up words.
source "$(dirname "$0")/lib.sh"
out=${1:-$samples/decrypted}
mkdir -p "$out"
alone 1500

server() { # server PORT LINES...
  local port=$1
  shift
  printf '  server { listen %s ssl; %s location / { return 200 "{\\"answer\\":\\"sample\\"}"; } }\n' "$port" "$*"
}
{
  cat <<CONF
  default_type application/json;
  ssl_certificate $pki/rsa.pem; ssl_certificate_key $pki/rsa.key;
  ssl_session_cache shared:samples:1m;
CONF
  server 8401 'ssl_protocols TLSv1.3; ssl_early_data on;'
  server 8402 'ssl_protocols TLSv1.3; ssl_ecdh_curve secp384r1;'
  server 8403 'ssl_protocols TLSv1 TLSv1.1 TLSv1.2; ssl_ciphers "ALL:@SECLEVEL=0"; ssl_session_tickets off;'
  server 8404 'ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256;'
  server 8405 'ssl_protocols TLSv1.3; ssl_verify_client optional_no_ca;'
  server 8406 'ssl_protocols TLSv1.2; ssl_ciphers "ALL:@SECLEVEL=0";'
  server 8407 'ssl_protocols TLSv1.3;'
} | web
printf 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{"answer":"sample"}' >"$work/answer"
(cd "$work" && serve openssl s_server -accept 8410 -key "$pki/rsa.key" -cert "$pki/rsa.pem" -tls1_2 \
  -client_renegotiation -HTTP -quiet)
serve gnutls-serv --port 8411 --x509keyfile "$pki/rsa.key" --x509certfile "$pki/rsa.pem" --http --quiet \
  --priority 'NORMAL:-VERS-ALL:+VERS-TLS1.2:+AES-128-CBC:+AES-256-CBC:+SHA1:+SHA256:%NO_ETM'
serve gnutls-serv --port 8412 --x509keyfile "$pki/rsa.key" --x509certfile "$pki/rsa.pem" --http --quiet \
  --priority 'NORMAL:-VERS-ALL:+VERS-TLS1.3'
sleep 2

get() { printf 'GET %s HTTP/1.1\r\nHost: api.llm.example\r\n\r\n' "$1"; }
client() { # client PORT ARGUMENTS...: what comes on standard input, one second long
  local port=$1
  shift
  inside timeout 4 openssl s_client -connect 127.0.0.1:"$port" -servername api.llm.example \
    -keylogfile "$keys" "$@" >/dev/null 2>>"$work/clients.log" || true
}
fetch() { # fetch PORT CURL-ARGUMENTS...
  local port=$1
  shift
  inside env SSLKEYLOGFILE="$keys" curl --silent --show-error --max-time 5 --cacert "$pki/ca.pem" \
    --user-agent agent/7 --http1.1 --resolve "api.llm.example:$port:127.0.0.1" --output /dev/null "$@" \
    2>>"$work/clients.log"
}

# record NAME COMMAND...: one capture of what the command does, its secrets in a
# Decryption Secrets Block. The expectation comes on standard input: handshakes,
# requests and what else is said of them.
record() {
  local name=$1
  shift
  local expected
  expected=$(cat)
  keys=$work/$name.keys
  : >"$keys"
  start "$name" 'portrange 8401-8412'
  "$@" </dev/null || true
  stop
  editcap -F pcapng --inject-secrets "tls,$keys" "$work/$name.pcap" "$out/$name.pcapng"
  printf '{\n  "made_by": "samples/record-decrypted.sh",\n  "capture": "%s.pcapng",\n%s\n}\n' "$name" "$expected" \
    >"$out/$name.expect.json"
}
expect() { # expect VERSION CIPHER VISIBILITY: one connection, one request
  cat <<JSON
  "services": ["ssl,http"],
  "tls": [
    {"version": "$1", "cipher": "$2", "server_name": "api.llm.example", "established": true,
     "decrypted": true, "decryption_source": "dsb", "decryption_failure": null, "cert_visibility": "$3"}
  ],
  "http": [{"method": "GET", "path": "/v1/answer", "response_status": 200, "decrypted": true, "plaintext": false}],
  "checks": {"NS-01.plaintext": {"failed": 0}, "NS-02.hostname": {"passed": 1, "not_observed": 0}}
JSON
}
once() { # once PORT ARGUMENTS...: one request with openssl
  (get /v1/answer; sleep 1) | client "$@" -quiet
}

# TLS 1.3, each suite.
for suite in TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256; do
  expect TLS1.3 $suite decrypted | record "${suite,,}" once 8407 -ciphersuites $suite
done
for suite in TLS_AES_128_CCM_SHA256 TLS_AES_128_CCM_8_SHA256; do
  expect TLS1.3 $suite decrypted | record "${suite,,}" once 8404 -ciphersuites $suite
done

# TLS 1.2, a suite of each kind; OpenSSL encrypts before it authenticates.
while read -r suite name; do
  expect TLS1.2 "$name" visible | record "${name,,}" once 8403 -tls1_2 -cipher "$suite:@SECLEVEL=0"
done <<'SUITES'
ECDHE-RSA-AES128-GCM-SHA256 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
ECDHE-RSA-AES256-GCM-SHA384 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
ECDHE-RSA-CHACHA20-POLY1305 TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
AES128-CCM TLS_RSA_WITH_AES_128_CCM
AES256-CCM8 TLS_RSA_WITH_AES_256_CCM_8
ECDHE-RSA-AES128-SHA TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
ECDHE-RSA-AES128-SHA256 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256
ECDHE-RSA-AES256-SHA384 TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384
SUITES
expect TLS1.1 TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA visible |
  record tls11-cbc once 8403 -tls1_1 -cipher 'ECDHE-RSA-AES256-SHA:@SECLEVEL=0'
expect TLS1.0 TLS_RSA_WITH_AES_128_CBC_SHA visible |
  record tls10-cbc once 8403 -tls1 -cipher 'AES128-SHA:@SECLEVEL=0'

# GnuTLS: CBC that authenticates before it encrypts; TLS 1.3 with its own padding and order.
gnutls() { # gnutls PORT PRIORITY ARGUMENTS...
  local port=$1 priority=$2
  shift 2
  (sleep 0.5; get /v1/answer; sleep 1) | inside env SSLKEYLOGFILE="$keys" timeout 4 gnutls-cli 127.0.0.1 \
    --port "$port" --sni-hostname api.llm.example --x509cafile "$pki/ca.pem" --insecure --no-ocsp \
    --priority "$priority" "$@" >/dev/null 2>>"$work/clients.log" || true
}
expect TLS1.2 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA visible | record gnutls-mac-then-encrypt \
  gnutls 8411 'NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC:-MAC-ALL:+SHA1:%NO_ETM'
expect TLS1.3 TLS_AES_256_GCM_SHA384 decrypted | record gnutls-tls13 gnutls 8412 'NORMAL:-VERS-ALL:+VERS-TLS1.3'

# HelloRetryRequest.
expect TLS1.3 TLS_AES_256_GCM_SHA384 decrypted | sed 's/"decrypted": true, "decryption_source"/"hello_retry": true, &/' |
  record hello-retry once 8402 -groups X25519:P-384

# A client's certificate.
expect TLS1.3 TLS_AES_256_GCM_SHA384 decrypted |
  sed 's/"decrypted": true, "decryption_source"/"client_cert_requested": true, "client_cert_sent": true, &/' |
  record client-certificate once 8405 -cert "$pki/rsa.pem" -key "$pki/rsa.key"

twice() { # twice PORT ARGUMENTS...: a session, and its resumption
  local port=$1
  shift
  (get /v1/answer; sleep 1) | client "$port" -quiet -sess_out "$work/session" "$@"
  (get /v1/again; sleep 1) | client "$port" -quiet -sess_in "$work/session" "$@"
}
resumed() { # resumed VERSION CIPHER VISIBILITY KIND MORE
  cat <<JSON
  "services": ["ssl,http", "ssl,http"],
  "tls": [
    {"version": "$1", "cipher": "$2", "established": true, "decrypted": true, "resumed": false, "cert_visibility": "$3"},
    {"version": "$1", "cipher": "$2", "established": true, "decrypted": true, "resumed": true, "resumption_kind": "$4",
     "cert_visibility": "resumed"}
  ],
  "http": [
    {"method": "GET", "path": "/v1/answer", "response_status": 200, "decrypted": true},
    {"method": "GET", "path": "/v1/again", "response_status": 200, "decrypted": true}
  ]
JSON
}
resumed TLS1.3 TLS_AES_256_GCM_SHA384 decrypted psk | record resumption-psk twice 8407
resumed TLS1.2 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 visible ticket |
  record resumption-ticket twice 8406 -tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384
resumed TLS1.2 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 visible id |
  record resumption-id twice 8403 -tls1_2 -no_ticket -cipher ECDHE-RSA-AES256-GCM-SHA384

# Early data, taken and refused (by a server without it, or with a retry).
early() { # early PORT ARGUMENTS...
  get /v1/again >"$work/early"
  (get /v1/answer; sleep 1) | client 8401 -quiet -sess_out "$work/session"
  sleep 1.5 | client "$1" -sess_in "$work/session" -early_data "$work/early" "${@:2}"
}
resumed TLS1.3 TLS_AES_256_GCM_SHA384 decrypted psk | record early-data early 8401
refused() { # refused RETRY: the other server knows nothing of the session
  cat <<JSON
  "services": ["ssl,http", "ssl"],
  "tls": [
    {"version": "TLS1.3", "established": true, "decrypted": true, "resumed": false, "cert_visibility": "decrypted"},
    {"version": "TLS1.3", "hello_retry": $1, "established": true, "decrypted": true, "resumed": false,
     "decryption_failure": null, "cert_visibility": "decrypted"}
  ],
  "http": [{"method": "GET", "path": "/v1/answer", "response_status": 200, "decrypted": true}]
JSON
}
refused false | record early-data-refused early 8407
refused true | record early-data-retried early 8402 -groups X25519:P-384

# Keys that change under way: of the client alone, and of both.
update() {
  (get /v1/answer; sleep 0.5; echo k; sleep 0.5; get /v1/second; sleep 0.5; echo K; sleep 0.5
    get /v1/third; sleep 0.5; get /v1/fourth; sleep 1) | client 8407
}
cat <<'JSON' | record key-update update
  "services": ["ssl,http"],
  "tls": [{"version": "TLS1.3", "established": true, "decrypted": true, "decryption_failure": null, "cert_visibility": "decrypted"}],
  "http": [
    {"path": "/v1/answer", "response_status": 200, "decrypted": true},
    {"path": "/v1/second", "response_status": 200, "decrypted": true},
    {"path": "/v1/third", "response_status": 200, "decrypted": true},
    {"path": "/v1/fourth", "response_status": 200, "decrypted": true}
  ]
JSON

# A second handshake inside the first (RFC 5746).
renegotiate() {
  (sleep 0.5; echo R; sleep 0.5; printf 'GET /answer HTTP/1.1\r\nHost: api.llm.example\r\n\r\n'; sleep 1) |
    client 8410 -tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256
}
cat <<'JSON' | record renegotiation renegotiate
  "services": ["ssl,http"],
  "tls": [
    {"version": "TLS1.2", "established": true, "decrypted": true, "renegotiation": false, "cert_visibility": "visible"},
    {"version": "TLS1.2", "established": true, "decrypted": true, "renegotiation": true, "cert_visibility": "visible"}
  ],
  "http": [{"method": "GET", "path": "/answer", "response_status": 200, "decrypted": true}]
JSON

# curl: several requests over one connection, one with a body.
several() {
  local body='{"question":"what is in the sample?"}'
  fetch 8407 https://api.llm.example:8407/v1/answer --next --silent --cacert "$pki/ca.pem" --http1.1 \
    --resolve api.llm.example:8407:127.0.0.1 --header 'Content-Type: application/json' \
    --header 'Authorization: Bearer not-a-secret' --data "$body" --output /dev/null \
    https://api.llm.example:8407/v1/ask
}
cat <<'JSON' | record curl several
  "services": ["ssl,http"],
  "tls": [{"version": "TLS1.3", "next_protocol": "http/1.1", "established": true, "decrypted": true, "cert_visibility": "decrypted"}],
  "http": [
    {"method": "GET", "path": "/v1/answer", "response_status": 200, "decrypted": true},
    {"method": "POST", "path": "/v1/ask", "response_status": 200, "decrypted": true, "auth_scheme": "bearer",
     "request_body_bytes": 37}
  ],
  "checks": {"NS-01.plaintext": {"failed": 0}, "NS-03.credential_plaintext": {"failed": 0}}
JSON
echo "recorded $(ls "$out"/*.pcapng | wc -l) captures"
