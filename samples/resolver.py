"""A small resolver for the scripts that record: `resolver.py ADDRESS CERTIFICATE KEY
NAME=ADDRESS... [DOMAIN=HOST:PORT...]`. It answers for the names on UDP and TCP port
53 and on port 853 in TLS (RFC 7858), and on 127.0.0.1:8053 over HTTP, for the web
server that ends TLS in front of it (RFC 8484). What is asked below a domain goes on
to the server behind it."""
import base64
import socket
import socketserver
import ssl
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

HERE, CERTIFICATE, KEY = sys.argv[1:4]
NAMES = dict(pair.split("=") for pair in sys.argv[4:] if ":" not in pair)
DOMAINS = dict(pair.split("=") for pair in sys.argv[4:] if ":" in pair)
A, NXDOMAIN = 1, 3


def name_of(query):
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("latin-1"))
        at += 1 + length
    return ".".join(labels).lower(), at + 1


def passed_on(query, host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as behind:
        behind.settimeout(5)
        behind.sendto(query, (host, int(port)))
        return behind.recv(65535)


def answer(query):
    name, end = name_of(query)
    for domain, server in DOMAINS.items():
        if name.endswith("." + domain):
            return passed_on(query, *server.split(":"))
    kind, _ = struct.unpack(">HH", query[end : end + 4])
    address = NAMES.get(name)
    records = b""
    if address and kind == A:
        records = struct.pack(">HHHIH", 0xC00C, A, 1, 300, 4) + socket.inet_aton(address)
    code = 0 if address else NXDOMAIN
    # An answer to a question with recursion desired, which is to be had.
    head = struct.pack(">HHHHH", 0x8180 | code, 1, 1 if records else 0, 0, 0)
    return query[:2] + head + query[12 : end + 4] + records


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        query, sock = self.request
        sock.sendto(answer(query), self.client_address)


class Stream(socketserver.StreamRequestHandler):
    def handle(self):
        while length := self.rfile.read(2):
            reply = answer(self.rfile.read(int.from_bytes(length, "big")))
            self.wfile.write(len(reply).to_bytes(2, "big") + reply)


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def send(self, query):
        reply = answer(query)
        self.send_response(200)
        self.send_header("Content-Type", "application/dns-message")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def do_GET(self):
        coded = parse_qs(urlsplit(self.path).query)["dns"][0]
        self.send(base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)))

    def do_POST(self):
        self.send(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_):
        pass


class Udp(socketserver.ThreadingUDPServer):
    allow_reuse_address = True


class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class Tls(Tcp):
    def __init__(self, address, handler):
        super().__init__(address, handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE, KEY)
        context.set_alpn_protocols(["dot"])
        self.socket = context.wrap_socket(self.socket, server_side=True)


SERVERS = [Udp((HERE, 53), Datagram), Tcp((HERE, 53), Stream), Tls((HERE, 853), Stream),
           ThreadingHTTPServer(("127.0.0.1", 8053), Http)]
for server in SERVERS[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
SERVERS[0].serve_forever()
