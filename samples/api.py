"""A small API for record-api.sh and record-agent-api.sh: `api.py PORT
guarded|open|agent TOKEN`. Guarded, it serves who brings the token; open, it serves
anybody anything, and forgets what it refused. To agents it is a server of the
Model Context Protocol (streamable HTTP, answers as events) and a model's API as
OpenAI has it, both without anything behind them."""
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


class Agents(Api):
    """Model Context Protocol of 2025-06-18, transport "Streamable HTTP", and
    OpenAI's chat completions, as far as a client sees it."""

    SESSION = "5f0c6a52-7c0e-4e0e-9d5b-1f1f5a3f9b11"

    def send(self, status, kind=None, body=b"", session=False):
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        if session:
            self.send_header("Mcp-Session-Id", self.SESSION)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def events(self, *messages, session=False):
        body = "".join(f"event: message\ndata: {json.dumps(one)}\n\n" for one in messages)
        self.send(200, "text/event-stream", body.encode(), session)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if self.path == "/mcp":
            self.protocol(asked)
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}" and not self.headers.get("api-key"):
            self.send(401, "application/json", b'{"error": {"message": "no key"}}')
        elif asked.get("stream"):
            words = [{"choices": [{"delta": {"content": word}}]} for word in ("It ", "rains.")]
            self.events(*words)
        else:
            said = {"choices": [{"message": {"role": "assistant", "content": "It rains."}}]}
            self.send(200, "application/json", json.dumps(said).encode())

    def protocol(self, asked):
        answer = {"jsonrpc": "2.0", "id": asked.get("id")}
        method = asked.get("method")
        if method == "initialize":
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                      "serverInfo": {"name": "sample", "version": "1"}}
            self.events(answer | {"result": result}, session=True)
        elif self.headers.get("Mcp-Session-Id") != self.SESSION:
            self.send(400, "application/json", b"{}")
        elif method == "tools/list":
            tools = [{"name": "weather", "inputSchema": {"type": "object"}}]
            body = json.dumps(answer | {"result": {"tools": tools}})
            self.send(200, "application/json", body.encode())
        elif method == "tools/call":
            progress = {"jsonrpc": "2.0", "method": "notifications/progress",
                        "params": {"progressToken": 1, "progress": 1}}
            result = {"content": [{"type": "text", "text": "It rains in Utrecht."}]}
            self.events(progress, answer | {"result": result})
        else:
            self.send(202)

    def do_GET(self):
        if self.path == "/mcp":
            self.send(405)
        else:
            self.send(200, "text/plain", b"nothing here")

    def do_DELETE(self):
        self.send(200)


ThreadingHTTPServer(("127.0.0.1", PORT), Agents if MODE == "agent" else Api).serve_forever()
