"""Role: the HTTP side of an Azure Functions host: callers' requests in, one of its three shapes to the handler.
Callers: tests/support/functions_host.py.
Law: what the host's sources do, and no more kindness than they have. Python's standard library and nothing else.

default  the request inside a JSON envelope, POSTed to /<FunctionName>; the answer comes out of one
forward  the request rebuilt with a buffered body (a chunked one arrives empty); the answer is buffered
proxy    the request and the answer streamed, piece by piece
"""
import base64
import http.client
import http.server
import json
import socket
import threading
import urllib.parse
import uuid

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"}
INVOCATION_ID = "X-Azure-Functions-InvocationId"


def is_binary(content_type):
    return content_type.lower().startswith(("application/octet-stream", "multipart/"))


def make_envelope(function, url, method, headers, body):
    """The request as the host describes it to a handler that gets no HTTP of its own."""
    split = urllib.parse.urlsplit(url)
    req = {"Url": url, "Method": method, "Query": json.dumps(dict(urllib.parse.parse_qsl(split.query))),
           "Headers": {name: [value for other, value in headers if other == name] for name, _ in headers},
           "Params": {}, "Identities": "[]"}
    if body:
        binary = is_binary(dict((name.lower(), value) for name, value in headers).get("content-type", ""))
        req["Body"] = base64.b64encode(body).decode() if binary else body.decode("utf-8", "replace")
    return {"Data": {"req": req}, "Metadata": {"sys": {"MethodName": function, "UtcNow": "2026-01-01T00:00:00Z"}}}


class Caller(http.server.BaseHTTPRequestHandler):
    """One caller's connection. `server.front` is the Front that it belongs to."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def serve(self):
        front = self.server.front
        split = urllib.parse.urlsplit(self.path)
        body = self.read_body()
        function = front.functions.get(split.path)
        if function is None:
            return self.send(404, [], b"")
        if self.command.lower() not in function["methods"]:
            return self.send(404, [], b"")  # the host's routes know no 405
        if function["authLevel"] != "anonymous" and not self.shows_key(front, split):
            return self.send(401, [], b"")
        invocation = front.next_invocation_id or str(uuid.uuid4())
        try:
            front.shapes[front.shape](self, function, body, invocation)
        except (ConnectionError, http.client.HTTPException, TimeoutError):
            self.close_connection = True
            if not getattr(self, "begun", False):
                self.send(502, [], b"")

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = serve

    def read_body(self):
        """(the body, whether it came in chunks)"""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces), True
        return self.rfile.read(int(self.headers.get("Content-Length", 0))), False

    def shows_key(self, front, split):
        shown = self.headers.get("x-functions-key") or dict(urllib.parse.parse_qsl(split.query)).get("code")
        return front.function_key is None or shown == front.function_key

    def send(self, status, headers, body):
        self.begun = True
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def onward_headers(self, invocation):
        kept = [(name, value) for name, value in self.headers.items()
                if name.lower() not in HOP_BY_HOP | {"content-length", "host", "expect"}]
        return [*kept, ("Host", self.headers.get("Host", "")), ("X-Forwarded-For", self.server.front.client_address),
                (INVOCATION_ID, invocation)]

    # -- the three shapes

    def answer_default(self, function, body, invocation):
        url = f"http://{self.headers.get('Host', 'localhost')}{self.path}"
        headers = [*self.headers.items(), ("X-Forwarded-For", self.server.front.client_address)]
        envelope = json.dumps(make_envelope(function["name"], url, self.command, headers, body[0]))
        response, text = self.ask("POST", "/" + function["name"], envelope.encode(),
                                  [("Content-Type", "application/json; charset=utf-8"), ("Host", "127.0.0.1"),
                                   (INVOCATION_ID, invocation)])
        if not 200 <= response.status < 300:
            return self.send(500, [("X-Handler-Status", str(response.status))], b"")
        answer = json.loads(text)
        if set(answer) != {"Outputs", "Logs", "ReturnValue"}:
            return self.send(500, [], b"")
        res = answer["Outputs"]["res"]
        self.send(int(res["statusCode"]), list(res["headers"].items()), res["body"].encode())

    def answer_forward(self, function, body, invocation):
        bytes_, chunked = body
        response, text = self.ask(self.command, self.path, b"" if chunked else bytes_, self.onward_headers(invocation))
        self.send(response.status, response.getheaders(), text)

    def answer_proxy(self, function, body, invocation):
        connection = self.server.front.connect()
        try:
            self.put(connection, self.command, self.path, body[0], self.onward_headers(invocation))
            response = connection.getresponse()
            self.begun = True
            self.send_response_only(response.status)
            length = response.getheader("Content-Length")
            for name, value in response.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            if length is None:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.relay(response, chunked=length is None)
        finally:
            connection.close()

    def relay(self, response, chunked):
        while self.command != "HEAD" and (piece := response.read1(65536)):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            self.wfile.flush()
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def ask(self, method, path, body, headers):
        connection = self.server.front.connect()
        try:
            self.put(connection, method, path, body, headers)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    @staticmethod
    def put(connection, method, path, body, headers):
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body or method == "POST":
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        pass  # a caller that went away; the caller itself sees it


class Front:
    """Listens for callers from the start; `handler_port` is where the handler answers."""

    shapes = {"default": Caller.answer_default, "forward": Caller.answer_forward, "proxy": Caller.answer_proxy}
    client_address = "203.0.113.7:40000"  # as Azure's front end tells it, with a port

    def __init__(self, functions, shape, handler_port, function_key=None):
        self.functions, self.shape, self.handler_port, self.function_key = functions, shape, handler_port, function_key
        self.next_invocation_id = None  # for a test that invokes the same twice; else a fresh one each time
        self.server = Server(("127.0.0.1", 0), Caller)
        self.server.front = self
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.handler_port, timeout=120)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
