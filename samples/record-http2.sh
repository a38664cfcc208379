#!/usr/bin/env bash
# Records http2.pcap and http2-tls.pcapng: nghttp2's client and curl against
# nghttp2's server, in a network namespace of their own, and writes what must be
# found in them from what `nghttp -v` said of its own streams (`nghttp.py`).
# The second capture is TLS, with its secrets in it.
# Needs root, iproute2, tcpdump, nghttp2, curl, python3 and editcap.
source "$(dirname "$0")/lib.sh"
out=${1:-$samples}

step=0
ask() { # ask NGHTTP-ARGUMENTS...: one connection, and what nghttp says of it
  step=$((step + 1))
  inside nghttp -v -n "$@" >"$work/$stage-$step.log" 2>&1
  sleep 0.3
}

alone 1500

# What is served.
mkdir "$work/www"
printf '<html><link rel="stylesheet" href="/style.css"></html>\n' >"$work/www/index.html"
printf 'body { color: black }\n' >"$work/www/style.css"
python3 -c 'print([{"row": row} for row in range(60)])' >"$work/www/rows.json"
head -c 17000 /dev/zero >"$work/www/zeros.bin"
printf '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"%s"}}' \
  "$(head -c 3000 /dev/zero | tr '\0' c)" >"$work/call.json"
plain=http://127.0.0.1:8080 upgraded=http://127.0.0.1:8081 secure=https://127.0.0.1:8443

serve nghttpd --no-tls -a 127.0.0.1 -d "$work/www" --echo-upload --push=/index.html=/style.css \
  --trailer 'x-trailer: done' 8080
# nghttpd knows no upgrade; the proxy does, in front of a server that is not recorded.
serve nghttpd --no-tls -a 127.0.0.1 -d "$work/www" --echo-upload 8082
serve nghttpx --no-ocsp -L ERROR --workers=1 --frontend='127.0.0.1,8081;no-tls' \
  --backend='127.0.0.1,8082;;proto=h2'
# nghttp keeps no log of its keys; who ends its TLS in front of the server does.
cat >"$work/tls.py" <<'PYTHON'
"""Ends TLS in front of a plaintext server, with a log of the keys."""
import asyncio
import ssl
import sys

CERTIFICATE, KEY, LOG = sys.argv[1:]
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(CERTIFICATE, KEY)
CONTEXT.set_alpn_protocols(["h2"])
CONTEXT.keylog_filename = LOG


async def pass_on(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", 8082)
    await asyncio.gather(pass_on(reader, back), pass_on(there, writer), return_exceptions=True)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 8443, ssl=CONTEXT)
    await server.serve_forever()


asyncio.run(main())
PYTHON
serve python3 -B "$work/tls.py" "$pki/rsa.pem" "$pki/rsa.key" "$work/keys.log"
sleep 2

stage=plain
start http2 'tcp port 8080 or tcp port 8081'
# 1 Several at once, one of which the server answers with a push.
ask $plain/index.html $plain/rows.json "$plain/missing?token=not-a-secret"
# 2 An upgrade from HTTP/1.1.
ask -u $upgraded/index.html $upgraded/rows.json
# 3 A body, padded, under a key that the server does not know.
ask -b 100 -d "$work/call.json" -H 'content-type: application/json' \
  -H 'x-api-key: not-a-secret' $plain/mcp
# 4 Headers that need CONTINUATION, and a table of another size.
ask --continuation --header-table-size=16384 $plain/style.css
# 5 A table that is emptied, HEAD, and a body of several frames.
ask --header-table-size=0 -H ':method: HEAD' $plain/zeros.bin
ask -m 2 $plain/zeros.bin
stop

stage=tls step=0
start http2-tls 'tcp port 8443'
ask $secure/index.html $secure/rows.json
ask -d "$work/call.json" -H 'content-type: application/json' \
  -H 'authorization: Bearer not-a-secret' $secure/mcp
stop

cp "$work/http2.pcap" "$out/http2.pcap"
editcap --inject-secrets "tls,$work/keys.log" "$work/http2-tls.pcap" "$out/http2-tls.pcapng"
python3 -B "$samples/nghttp.py" http2.pcap "$work"/plain-?.log >"$out/http2.expect.json"
python3 -B "$samples/nghttp.py" http2-tls.pcapng "$work"/tls-?.log >"$out/http2-tls.expect.json"
