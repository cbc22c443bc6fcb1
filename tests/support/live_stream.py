"""Role: one live answer of the service, read event by event.
Callers: live_test.py and what else looks at live answers, the benchmark.
"""
import json
import re
import socket

EVENTS, LINES = "text/event-stream", "application/x-ndjson"
FORMS = (EVENTS, LINES)
EVERY_FORM = ("application/json", *FORMS)  # the plain answer's, too


class Stream:
    """One live answer on a socket of its own, read event by event."""

    def __init__(self, service, fields, accept, head="", version="1.1", receive_bytes=None):
        self.peer = socket.socket()
        if receive_bytes:
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.peer.settimeout(60)
        self.peer.connect(("127.0.0.1", service.port))
        self.accept = accept
        self.send(fields, head, version)

    def send(self, fields, head="", version="1.1"):
        body = json.dumps(fields).encode()
        self.peer.sendall(f"POST /api/run HTTP/{version}\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                          f"Accept: {self.accept}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)
        self.file = self.peer.makefile("rb")
        self.version = version

    def read_head(self):
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        while (line := self.file.readline().strip()):
            name, _, value = line.decode().partition(": ")
            self.headers[name] = value
        return self

    def chunks(self):
        """The body's pieces as the service has sent them."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            yield self.file.read()
            return
        while (size := int(self.file.readline(), 16)):
            yield self.file.read(size)
            assert self.file.readline() == b"\r\n"
        assert self.file.readline() == b"\r\n"

    def events(self):
        """(name, object) of each event; a keep-alive is ("keepalive", {}). Each is whole and valid UTF-8."""
        held = b""
        end = b"\n\n" if self.accept == EVENTS else b"\n"
        for chunk in self.chunks():
            held += chunk
            while end in held:
                text, held = held.split(end, 1)
                yield self.parse(text.decode("utf-8"))
        assert held == b"", held

    def parse(self, text):
        if self.accept == EVENTS:
            if text.startswith(":"):
                return "keepalive", {}
            name, data = re.fullmatch(r"event: (\w+)\ndata: (.*)", text).groups()
            return name, json.loads(data)
        fields = json.loads(text)
        return fields.pop("event"), fields

    def close(self):
        self.file.close()
        self.peer.close()


def joined(events):
    """The plain answer that the events amount to, and the order of their names without repetitions."""
    answer = {"exit_code": None, "stdout": "", "stderr": "", "artifacts": {}}
    names = []
    for name, fields in events:
        if not names or names[-1] != name:
            names.append(name)
        if name in ("stdout", "stderr"):
            assert list(fields) == ["data"] and fields["data"], fields
            answer[name] += fields["data"]
        elif name == "artifact":
            assert list(fields) == ["name", "file"], fields
            answer["artifacts"][fields["name"]] = fields["file"]
        elif name == "exit":
            answer["exit_code"], answer["run"] = fields["exit_code"], fields["run"]
            answer.update({"error": fields["error"]} if "error" in fields else {})
    return answer, names


def ask(service, fields, accept):
    """The status of an answer in this form, and what it amounts to as a plain one."""
    if accept == EVERY_FORM[0]:
        answer = service.post(fields)
        return answer.status, answer.json
    stream = Stream(service, fields, accept).read_head()
    try:
        if stream.status != 200:
            return stream.status, json.loads(stream.file.read(int(stream.headers["Content-Length"])))
        answer, names = joined(stream.events())
        assert names.count("exit") == 1 and names[-1] == "exit", names
        return stream.status, answer
    finally:
        stream.close()
