"""A small API for record-api.sh: `api.py PORT guarded|open TOKEN`. Guarded, it
serves who brings the token; open, it serves anybody anything, and forgets what
it refused."""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, MODE, TOKEN = int(sys.argv[1]), sys.argv[2], sys.argv[3]
GUARDED = MODE == "guarded"
REFUSED_ONCE = set()


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, cookie=None):
        body = json.dumps({"status": status}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0:
            left -= len(self.rfile.read(min(left, 1 << 16)))

    def do_GET(self):
        path = self.path.partition("?")[0]
        refusals = {"/api/v1/flaky": 401, "/api/v1/report": 403}
        if GUARDED and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401)
        elif GUARDED and path.startswith("/api/v1/admin"):
            self.answer(403)
        elif path in refusals and path not in REFUSED_ONCE:
            REFUSED_ONCE.add(path)
            self.answer(refusals[path])
        else:
            self.answer(200)

    def do_POST(self):
        self.body()
        if self.path == "/api/v1/login":
            flags = "; Secure; HttpOnly; SameSite=Strict" if GUARDED else ""
            self.answer(200, "session_id=not-a-secret" + flags)
        elif GUARDED and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401)
        elif GUARDED and self.headers.get("Content-Type") != "application/json":
            self.answer(415)
        else:
            self.answer(201)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", PORT), Api).serve_forever()
