"""Writes an expectation from what `nghttp -v` said of its own streams: one log a
connection, requests in the order in which they were opened.

    nghttp.py CAPTURE LOG... > NAME.expect.json
"""
import json
import re
import sys

FRAME = re.compile(r"\[ *[\d.]+\] (send|recv) (\w+) frame <length=(\d+), flags=0x\w+, stream_id=(\d+)>")
FIELD = re.compile(r"\[ *[\d.]+\] recv \(stream_id=\d+\) (:?[^:]+): (.*)")
SENT = re.compile(r" {10}(:?[^:; ]+): (.*)")
PADDED = re.compile(r"\(padlen=(\d+)")
PROMISED = re.compile(r"promised_stream_id=(\d+)")
# An upgrade: the request is HTTP/1.1, its answer that of stream 1.
UPGRADE = re.compile(r"\[ *[\d.]+\] HTTP Upgrade request")


def opened(fields, stream):
    path, _, query = fields[":path"].partition("?")
    host, _, port = fields[":authority"].partition(":")
    shown = re.sub(r"=([^&]*)", lambda found: f"=<{len(found[1])}>", query)
    return {
        "stream_id": stream,
        "http_version": "2",
        "method": fields[":method"],
        "host": host,
        "host_port": int(port),
        "path": path,
        "query_redacted": shown or None,
        "response_status": None,
        "request_body_bytes": 0,
        "response_body_bytes": 0,
    }


def connection(lines):
    """The streams of one connection, in the order of their requests."""
    streams, received, sent, frame = {}, {}, {}, None

    def begin(fields, stream):
        if ":method" in fields and stream not in streams:
            streams[stream] = opened(fields, stream)

    for line in lines:
        if UPGRADE.match(line):
            frame = ("upgrade", "", 0, 1)
            sent = {":method": "GET"}
            continue
        if frame and frame[0] == "upgrade" and not line.startswith("["):
            # nghttp prints the HTTP/1.1 request as it sent it.
            if found := re.match(r"(\w+) (\S+) HTTP/1.1", line):
                sent[":method"], sent[":path"] = found[1], found[2]
            elif found := re.match(r"host: (.*)", line, re.IGNORECASE):
                sent[":authority"] = found[1].strip()
            continue
        if frame and frame[0] in ("upgrade", "send"):
            if frame[0] == "upgrade" or frame[1] == "HEADERS":
                begin(sent, frame[3]) if not SENT.match(line) else None
        if found := FRAME.match(line):
            side, kind, length, stream = found[1], found[2], int(found[3]), int(found[4])
            frame, sent = (side, kind, length, stream), {}
            known = streams.get(stream)
            if kind == "DATA" and known:
                key = "request_body_bytes" if side == "send" else "response_body_bytes"
                known[key] += length
            if (side, kind) == ("recv", "HEADERS"):
                status = received.get(":status", "")
                if known and known["response_status"] is None and status >= "2":
                    known["response_status"] = int(status)
                received = {}
        elif found := FIELD.match(line):
            received[found[1]] = found[2]
        elif found := PROMISED.search(line):
            streams[int(found[1])] = opened(received, int(found[1])) | {"method": received[":method"]}
            streams[int(found[1])]["pushed"] = True
            received = {}
        elif frame and (found := PADDED.search(line)) and frame[1] == "DATA":
            key = "request_body_bytes" if frame[0] == "send" else "response_body_bytes"
            streams[frame[3]][key] -= int(found[1])
        elif frame and frame[:2] == ("send", "HEADERS") and (found := SENT.match(line)):
            sent[found[1]] = found[2]
    for stream in streams.values():
        # What nobody asked for, a client did not send.
        if stream.pop("pushed", False):
            stream["request_body_bytes"] = None
    return list(streams.values())


def main():
    capture, *logs = sys.argv[1:]
    rows = []
    for log in logs:
        with open(log, encoding="utf-8", errors="replace") as lines:
            rows.extend(connection(lines))
    is_tls, tls = capture.endswith(".pcapng"), ""
    if is_tls:
        rows = [row | {"decrypted": True} for row in rows]
        made = {"version": "TLS1.3", "next_protocol": "h2", "established": True, "decrypted": True}
        tls = '  "tls": [' + ", ".join([json.dumps(made)] * len(logs)) + "],\n"
    rows = ",\n    ".join(json.dumps(row) for row in rows)
    services = json.dumps(["ssl,http" if is_tls else "http"] * len(logs))
    print(f'{{\n  "made_by": "samples/record-http2.sh",\n  "capture": "{capture}",')
    print(f'  "services": {services},\n{tls}  "http": [\n    {rows}\n  ]\n}}')


if __name__ == "__main__":
    main()
