#!/usr/bin/env bash
# Records samples/dns/: the same questions over UDP, in TLS (DoT) and over HTTPS (DoH),
# asked by kdig and curl of a resolver in another network namespace (resolver.py, for
# DoH behind nginx), with the secrets in the file and without; and a tunnel of iodine
# over DoH. Writes what must be found in each from what was asked. Needs root,
# /dev/net/tun, iproute2, tcpdump, python3, nginx, curl, kdig (Knot DNS), iodine and
# editcap (Wireshark).
source "$(dirname "$0")/lib.sh"
out=${1:-$samples/dns}
mkdir -p "$out"
here=10.20.0.53 page=10.20.0.21 domain=t.tunnel.example
cable $here $page
resolver $here www.example=$here page.example=$page $domain=127.0.0.1:5353
web <<CONF
  ssl_certificate $pki/rsa.pem; ssl_certificate_key $pki/rsa.key; ssl_protocols TLSv1.3;
  server { listen $here:443 ssl http2; location /dns-query { proxy_pass http://127.0.0.1:8053; } }
  server { listen $page:80; location / { return 200 "a page\n"; } }
CONF
sleep 2

# record NAME COMMAND...: what crosses the cable while COMMAND runs, and its secrets.
record() {
  keys=$work/$1.keys
  : >"$keys"
  start "$1" 'udp port 53 or tcp port 443 or tcp port 853 or tcp port 80'
  "${@:2}" </dev/null >>"$work/clients.log" 2>&1
  stop
}
# expect FILE: what must be found in it, from standard input.
expect() {
  printf '{\n  "made_by": "samples/record-dns.sh",\n  "capture": "%s",\n%s\n}\n' "$1" "$(cat)" >"$out/${1%.*}.expect.json"
}
opened() { # opened NAME: with the secrets
  editcap -F pcapng --inject-secrets "tls,$keys" "$work/$1.pcap" "$out/$1.pcapng"
  expect "$1.pcapng"
}
closed() { # closed NAME AS: without them
  cp "$work/$1.pcap" "$out/$2.pcap"
  expect "$2.pcap"
}
ask() { # ask KDIG-ARGUMENTS...: three questions; the last name is not there
  inside env SSLKEYLOGFILE="$keys" kdig @$here +keepopen +retry=0 "$@" page.example A www.example AAAA missing.example A
}
answers() { # answers TRANSPORT: to those three
  cat <<JSON
  "dns": [
    {"query": "page.example", "qtype_name": "A", "transport": "$1", "rcode_name": "NOERROR", "answer_ips": ["$page"]},
    {"query": "www.example", "qtype_name": "AAAA", "transport": "$1", "rcode_name": "NOERROR"},
    {"query": "missing.example", "qtype_name": "A", "transport": "$1", "rcode_name": "NXDOMAIN"}
  ],
  "findings": {"NS-04": []},
JSON
}
handshake() { # handshake DECRYPTED
  printf '"tls": [{"version": "TLS1.3", "server_name": "www.example", "established": true, "decrypted": %s}]' "$1"
}
tls=(+tls-ca="$pki/ca.pem" +tls-hostname=www.example)

record udp ask
closed udp udp <<JSON
$(answers udp)
  "checks": {"NS-01.dns_plaintext": {"passed": 0}},
  "worst": {"NS-01.dns_plaintext": "info"}
JSON
record dot ask +tls "${tls[@]}"
opened dot <<JSON
$(answers dot)
  $(handshake true),
  "checks": {"NS-01.dns_plaintext": {"passed": 1, "failed": 0, "warned": 0}}
JSON
# Without secrets the port says what it is, and nothing says what was asked.
closed dot dot-closed <<JSON
  "services": ["ssl,dot"],
  "dns": [],
  $(handshake false),
  "checks": {"NS-01.dns_plaintext": {"passed": 1, "failed": 0, "warned": 0}}
JSON
for method in post get; do
  way=(+https=/dns-query)
  [ $method = post ] || way+=(+https-get)
  record doh-$method ask "${way[@]}" "${tls[@]}"
  opened doh-$method <<JSON
$(answers doh)
  "services": ["ssl,http,doh"],
  $(handshake true),
  "checks": {"NS-01.dns_plaintext": {"failed": 0, "warned": 0}}
JSON
done
# curl looks a page's address up over HTTPS, and the address of the resolver by UDP.
fetch() {
  inside env SSLKEYLOGFILE="$keys" curl -4 --silent --show-error --fail --cacert "$pki/ca.pem" \
    --doh-url https://www.example/dns-query http://page.example/
}
record doh-curl fetch
opened doh-curl <<JSON
  "services": ["dns", "ssl,http,doh", "http"],
  $(handshake true),
  "dns": [
    {"query": "www.example", "qtype_name": "A", "transport": "udp", "answer_ips": ["$here"]},
    {"query": "www.example", "qtype_name": "AAAA", "transport": "udp", "answer_ips": []},
    {"query": "page.example", "qtype_name": "A", "transport": "doh", "answer_ips": ["$page"]}
  ],
  "flows": [{}, {"dst_ip": "$here", "dst_port": 443}, {"dst_ip": "$page", "destination": "page.example"}],
  "findings": {"NS-04": []}
JSON

# A tunnel of iodine, whose questions go over HTTPS: a stub of the client takes
# one at a time and posts it to the resolver, which passes it on to the tunnel's other end.
cat >"$work/stub.py" <<'PYTHON'
import http.client
import socket
import ssl
import sys

context = ssl.create_default_context(cafile=sys.argv[2])
context.keylog_filename = sys.argv[3]
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind(("127.0.0.1", 53))

resolver = http.client.HTTPSConnection(sys.argv[1], context=context, timeout=8)
while True:
    query, client = listener.recvfrom(65535)
    resolver.request("POST", "/dns-query", query, {"Content-Type": "application/dns-message"})
    answer = resolver.getresponse()
    body = answer.read()
    if answer.status == 200:
        listener.sendto(body, client)
PYTHON
serve iodined -f -c -P not-a-secret -l 127.0.0.1 -p 5353 10.99.0.1 $domain
through() {
  inside python3 -B "$work/stub.py" www.example "$pki/ca.pem" "$keys" &
  local stub=$!
  sleep 1
  inside iodine -f -P not-a-secret -r -L 0 -I 1 -T TXT -m 200 127.0.0.1 $domain &
  local tunnel=$!
  sleep 4
  inside ping -c 4 -i 0.3 -W 2 10.99.0.1
  end $tunnel
  end $stub
}
record doh-tunnel through
# What is found goes to the resolver; the domain is the finding's detail.
opened doh-tunnel <<JSON
  $(handshake true),
  "findings": {"NS-04": ["NS-04.dns_tunneling high $here"]}
JSON
chmod 644 "$out"/*
