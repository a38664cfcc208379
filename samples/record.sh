#!/usr/bin/env bash
# Records samples/agent.pcap: an agent and the services that it uses, real
# programs in two network namespaces, and writes what must be found in it from
# the steps below. Needs root, iproute2, tcpdump, openssl, nginx, curl, redis
# and python3. Nothing leaves the namespaces; every secret is made up.
source "$(dirname "$0")/lib.sh"
out=${1:-$samples}
api=10.20.0.10 tools=10.20.0.11 legacy=10.20.0.12 www=10.20.0.13 mail=10.20.0.14 cache=10.20.0.15

fetch() { # fetch NAME=ADDRESS CURL-ARGUMENTS...
  local name=${1%%=*} address=${1##*=}
  shift
  inside curl --silent --show-error --max-time 5 --cacert "$pki/ca.pem" --user-agent agent/7 \
    --resolve "$name:80:$address" --resolve "$name:443:$address" --resolve "$name:25:$address" \
    --resolve "$name:587:$address" --output /dev/null "$@"
}

cable $api $tools $legacy $www $mail $cache

# The services.
web <<CONF
  ssl_certificate $pki/rsa.pem;
  ssl_certificate_key $pki/rsa.key;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_tickets off;
  default_type application/json;
  server { listen $api:443 ssl; location / { return 200 '{"answer":"sample"}'; } }
  server { listen $www:443 ssl; location / { return 200 '{"page":"sample"}'; } }
  server { listen $www:80; server_name www.example; return 301 https://www.example\$request_uri; }
  server { listen $tools:80; location / { return 200 '{"tools":[]}'; } }
CONF
cat >"$work/smtp.py" <<'PYTHON'
"""Just enough SMTP (RFC 5321) with STARTTLS (RFC 3207) for the sample."""
import socketserver
import ssl
import sys

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(sys.argv[2], sys.argv[3])


class Session(socketserver.BaseRequestHandler):
    def say(self, text):
        self.request.sendall(text.encode() + b"\r\n")

    def handle(self):
        lines, secure = self.request.makefile("rb"), False
        self.say("220 mail.example ESMTP")
        for line in lines:
            verb = line.strip().upper()
            if verb.startswith(b"EHLO"):
                offer = "" if secure else "250-STARTTLS\r\n"
                self.say(f"250-mail.example\r\n{offer}250 AUTH PLAIN")
            elif verb == b"STARTTLS":
                self.say("220 go ahead")
                self.request = CONTEXT.wrap_socket(self.request, server_side=True)
                lines_in, secure = self.request.makefile("rb"), True
                return self.rest(lines_in)
            elif not self.answer(verb, lines):
                return None
        return None

    def rest(self, lines):
        for line in lines:
            verb = line.strip().upper()
            if verb.startswith(b"EHLO"):
                self.say("250-mail.example\r\n250 AUTH PLAIN")
            elif not self.answer(verb, lines):
                return

    def answer(self, verb, lines):
        if verb.startswith(b"AUTH"):
            self.say("235 welcome")
        elif verb == b"DATA":
            self.say("354 go on")
            while lines.readline().strip() != b".":
                pass
            self.say("250 queued")
        elif verb == b"QUIT":
            self.say("221 bye")
            return False
        else:
            self.say("250 OK")
        return True


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


Server((sys.argv[1], 587), Session).serve_forever()
PYTHON
printf 'From: agent@agent.example\r\nTo: team@mail.example\r\nSubject: report\r\n\r\nDone.\r\n' \
  >"$work/mail.txt"
serve python3 -B "$work/smtp.py" $mail "$pki/rsa.pem" "$pki/rsa.key"
serve redis-server --bind $cache --port 6379 --requirepass not-a-secret --save '' --dir "$work"
serve openssl s_server -accept $legacy:443 -key "$pki/rsa.key" -cert "$pki/rsa.pem" -tls1 \
  -cipher 'ECDHE-RSA-AES256-SHA:@SECLEVEL=0' -www
sleep 2

start agent tcp

# The steps. Each is told again in the expectation below, in the same order.
# 1 TLS 1.3, the way it should be.
fetch api.llm.example=$api https://api.llm.example/v1/answer
sleep 0.5
# 2 TLS 1.2 with a listed suite.
fetch api.llm.example=$api --tls-max 1.2 --ciphers ECDHE-RSA-AES128-GCM-SHA256 \
  https://api.llm.example/v1/answer
sleep 0.5
# 3 TLS 1.0 with a CBC suite, signed for with MD5 and SHA-1.
printf 'GET / HTTP/1.0\r\n\r\n' | inside openssl s_client -connect $legacy:443 -tls1 -quiet \
  -servername legacy.example -cipher 'ECDHE-RSA-AES256-SHA:@SECLEVEL=0' >/dev/null 2>&1 || true
sleep 0.5
# 4 TLS 1.1, which the server refuses.
inside openssl s_client -connect $api:443 -tls1_1 -servername api.llm.example \
  -cipher 'ECDHE-RSA-AES256-SHA:@SECLEVEL=0' </dev/null >/dev/null 2>&1 || true
sleep 0.5
# 5 Plaintext HTTP, sent on to https, where the agent goes.
fetch www.example=$www --location http://www.example/start
sleep 0.5
# 6 Plaintext HTTP, served, with a password in it.
fetch tools.example=$tools --user agent:not-a-secret http://tools.example/v1/tools
sleep 0.5
# 7 Mail with STARTTLS, and 8 without although it was offered, with a password.
send() {
  fetch mail.example=$mail --mail-from agent@agent.example --mail-rcpt team@mail.example \
    --upload-file "$work/mail.txt" "$@" smtp://mail.example:587
}
send --ssl-reqd
sleep 0.5
send --sasl-ir --user agent:not-a-secret
sleep 0.5
# 9 A cache that asks for a password in plaintext.
inside redis-cli --no-auth-warning -h $cache -a not-a-secret set state done >/dev/null

stop
cp "$work/agent.pcap" "$out/agent.pcap"

cat >"$out/agent.expect.json" <<'JSON'
{
  "made_by": "samples/record.sh",
  "capture": "agent.pcap",
  "services": ["ssl", "ssl", "ssl", "ssl", "http", "ssl", "http", "smtp,ssl", "smtp", "redis"],
  "tls": [
    {"version": "TLS1.3", "cipher": "TLS_AES_256_GCM_SHA384", "server_name": "api.llm.example", "established": true},
    {"version": "TLS1.2", "cipher": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "server_name": "api.llm.example", "established": true},
    {"version": "TLS1.0", "cipher": "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "server_name": "legacy.example", "established": true},
    {"version": null, "cipher": null, "server_name": "api.llm.example", "established": false, "last_alert": "protocol_version", "alert_from": "server"},
    {"version": "TLS1.3", "cipher": "TLS_AES_256_GCM_SHA384", "server_name": "www.example", "established": true},
    {"version": "TLS1.3", "cipher": "TLS_AES_256_GCM_SHA384", "server_name": "mail.example", "established": true, "starttls_protocol": "smtp"}
  ],
  "checks": {
    "NS-01.tls_version": {"passed": 4, "failed": 1, "refused": 1, "not_observed": 0},
    "NS-01.tls_preferred": {"failed": 0, "warned": 0},
    "NS-01.cipher_suite": {"passed": 4, "failed": 1, "not_observed": 1},
    "NS-01.cipher_not_allowed": {"passed": 4, "failed": 0},
    "NS-01.key_exchange": {"passed": 5, "failed": 0},
    "NS-01.signature": {"passed": 1, "failed": 1},
    "NS-01.handshake": {"failed": 0, "warned": 0},
    "NS-01.downgrade": {"failed": 0},
    "NS-01.http_upgrade": {"failed": 1, "warned": 1},
    "NS-01.starttls": {"passed": 1, "failed": 1},
    "NS-01.plaintext": {"failed": 3, "not_observed": 1},
    "NS-01.dns_plaintext": {"evaluated": 0}
  },
  "worst": {
    "NS-01.plaintext": "critical",
    "NS-01.tls_version": "high",
    "NS-01.cipher_suite": "high",
    "NS-01.http_upgrade": "high",
    "NS-01.starttls": "medium",
    "NS-01.signature": "medium"
  }
}
JSON
