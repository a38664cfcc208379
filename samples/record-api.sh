#!/usr/bin/env bash
# Records api-guarded.pcap.zst and api-open.pcap.zst: curl against a small API
# (api.py), once behind nginx, which limits sizes and rates and adds protective
# headers, and once as it is, with nothing checked. What NS-03 must say of each
# call stands beside it; the sums are in NAME.expect.json, which this script does
# not touch. Needs root, iproute2, tcpdump, nginx, curl, openssl, python3, zstd.
source "$(dirname "$0")/lib.sh"
out=${1:-$samples}

record() { start "$1" "tcp port $2 or tcp port $3"; }
finish() {
  stop
  zstd -q -19 -f "$work/$1.pcap" -o "$out/$1.pcap.zst"
}
call() { # call STATUS CURL-ARGUMENTS...: fails unless it is answered so
  local expected=$1 status
  shift
  status=$(inside curl --silent --max-time 20 --output /dev/null \
    --user-agent agent/7 --write-out '%{http_code}' "$@" || true)
  # Several calls over one connection: all their answers in a row.
  [ "$status" = "$expected" ] || { echo "expected $expected, got $status: $*" >&2; exit 1; }
}

alone

# Tokens: one as it should be, one that has expired, one that nobody signed.
coded() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
token() { # token ALGORITHM ISSUED EXPIRES
  local head body
  head=$(printf '{"alg":"%s","typ":"JWT"}' "$1" | coded)
  body=$(printf '{"iss":"issuer.example","sub":"agent-7","iat":%s,"exp":%s}' "$2" "$3" | coded)
  printf '%s.%s.' "$head" "$body"
  [ "$1" = none ] || printf '%s.%s' "$head" "$body" |
    openssl dgst -sha256 -sign "$pki/rsa.key" -binary | coded
}
now=$(date +%s)
valid=$(token RS256 "$((now - 60))" "$((now + 1800))")
expired=$(token RS256 "$((now - 7200))" "$((now - 3600))")
unsigned=$(token none "$((now - 60))" "$((now + 1800))")

# 12 MB that compress to some kilobytes, and a header of 10 KB.
python3 -B - "$work/large.json" <<'PYTHON'
import random
import sys

noise = random.Random(12)
rows = (f'"{noise.getrandbits(256):064x}{"x" * 16317}"' for _ in range(768))
with open(sys.argv[1], "w") as out:
    out.write("[" + ",".join(rows) + "]")
PYTHON
long=$(head -c 10240 /dev/zero | tr '\0' h)

web <<CONF
  limit_req_zone \$binary_remote_addr zone=calls:1m rate=60r/m;
  limit_req_status 429;
  client_max_body_size 10m;
  large_client_header_buffers 4 8k;
  server {
    listen 127.0.0.1:8090;
    listen 127.0.0.1:8092 http2;
    add_header X-Content-Type-Options nosniff always;
    add_header X-Frame-Options DENY always;
    add_header X-XSS-Protection "1; mode=block" always;
    add_header Strict-Transport-Security "max-age=31536000; includeSubDomains" always;
    add_header Content-Security-Policy "default-src 'none'" always;
    location / { proxy_pass http://127.0.0.1:8099; }
    location /api/v1/limited {
      limit_req zone=calls burst=9 nodelay;
      proxy_pass http://127.0.0.1:8099;
    }
  }
CONF
serve python3 -B "$samples/api.py" 8099 guarded "$valid"
serve python3 -B "$samples/api.py" 8091 open "$valid"
sleep 2

json='content-type: application/json'
bearer() { printf 'authorization: Bearer %s' "$1"; }
items=http://127.0.0.1:8090/api/v1/items

record api-guarded 8090 8092
#  1     a credential, as it should be: everything passes, but it is in plaintext
call 200 -H "$(bearer "$valid")" $items
#  2     none: auth_missing refused
call 401 $items
#  3, 4  an expired and an unsigned token: jwt and invalid_credential_accepted refused
call 401 -H "$(bearer "$expired")" $items
call 401 -H "$(bearer "$unsigned")" $items
#  5, 6  a media type that is allowed, and one that is not: content_type passed, refused
call 201 -H "$(bearer "$valid")" -H "$json" -d '{"name":"one"}' $items
call 415 -H "$(bearer "$valid")" -H 'content-type: text/xml' -d '<name/>' $items
#  7     a body of 12 MB: request_size refused before it is sent (curl waits for 100), so that
#        content_type has nothing to judge
call 413 -H "$(bearer "$valid")" -H "$json" --data-binary "@$work/large.json" $items
#  8     a header of 10 KB: header_size refused
call 400 -H "$(bearer "$valid")" -H "x-long: $long" $items
#  9-20  twelve at once where ten are allowed: rate_limit refused, twice
call "$(printf '200%.0s' 1 2 3 4 5 6 7 8 9 10)429429" -H "$(bearer "$valid")" \
  "http://127.0.0.1:8090/api/v1/limited?n=[1-12]"
#  21    a path that takes another right: authorization refused
call 403 -H "$(bearer "$valid")" http://127.0.0.1:8090/api/v1/admin/users
#  22    a password for a cookie with all its flags: cookie passed
call 200 -H "$json" -d '{"user":"agent","password":"not-a-secret"}' http://127.0.0.1:8090/api/v1/login
sleep 3
#  23-25 the same over HTTP/2
h2=(--http2-prior-knowledge)
call 200 "${h2[@]}" -H "$(bearer "$valid")" http://127.0.0.1:8092/api/v1/items
call 401 "${h2[@]}" http://127.0.0.1:8092/api/v1/items
call 415 "${h2[@]}" -H "$(bearer "$valid")" -H 'content-type: text/xml' -d '<name/>' \
  http://127.0.0.1:8092/api/v1/items
finish api-guarded

items=http://127.0.0.1:8091/api/v1/items
record api-open 8091 8091
#  1     no credential, served: auth_missing failed; security_headers five times, as everywhere
call 200 $items
#  2     a key in the URL: credential_in_url failed (and auth_missing: no method of the policy)
call 200 "$items?api_key=not-a-secret"
#  3, 4  an expired and an unsigned token, served: jwt failed
call 200 -H "$(bearer "$expired")" $items
call 200 -H "$(bearer "$unsigned")" $items
#  5     a body of 12 MB, taken: request_size failed
call 201 -H "$(bearer "$valid")" -H "$json" --data-binary "@$work/large.json" $items
#  6     a header of 10 KB, taken: header_size warned
call 200 -H "$(bearer "$valid")" -H "x-long: $long" $items
#  7     XML, taken: content_type warned
call 201 -H "$(bearer "$valid")" -H 'content-type: text/xml' -d '<name/>' $items
#  8-19  twelve at once, all served: rate_limit failed, twice
call "$(printf '200%.0s' 1 2 3 4 5 6 7 8 9 10 11 12)" -H "$(bearer "$valid")" \
  "http://127.0.0.1:8091/api/v1/limited?n=[1-12]"
#  20    a cookie without flags: cookie warned
call 200 -H "$json" -d '{"user":"agent","password":"not-a-secret"}' http://127.0.0.1:8091/api/v1/login
#  21-22 a credential refused, then served: invalid_credential_accepted refused, failed
call 401 -H "$(bearer wrong-at-first)" http://127.0.0.1:8091/api/v1/flaky
call 200 -H "$(bearer wrong-at-first)" http://127.0.0.1:8091/api/v1/flaky
#  23    an administrative path without a credential: authorization and auth_missing failed
call 200 http://127.0.0.1:8091/api/v1/admin/users
#  24-25 forbidden, then served: authorization refused, failed
call 403 -H "$(bearer "$valid")" http://127.0.0.1:8091/api/v1/report
call 200 -H "$(bearer "$valid")" http://127.0.0.1:8091/api/v1/report
finish api-open
