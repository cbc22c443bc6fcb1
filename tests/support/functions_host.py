"""Role: a stand-in for the Azure Functions host: starts a function app's custom handler, asks for its readiness, passes
callers' requests on in the host's three shapes, restarts it as its exit status says, kills it without a warning.
Callers: tests/contract/functions_*_test.py.
Law: the facts are the host's own (its sources, 4.10xx): paths, variables, times and exit statuses. Time runs faster
only where a test says so.
"""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import tempfile
import time
import zipfile

import functions_front
from service import FLAGS, SECRET, Service

READY_WITHIN, READY_POLL = 30, 0.025  # seconds
RESTART_STATUS = 200                  # an exit that asks for a restart
ERRORS_TOLERATED, ERROR_WINDOW = 3, 30 * 60
TREE = pathlib.Path(__file__).resolve().parents[2]
# What the platform puts into the environment of the host, and the host hands on whole. Each value is a secret.
PLANTED = {name: f"{SECRET}-{name}" for name in (
    "AzureWebJobsStorage", "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING", "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET", "WEBSITE_AUTH_ENCRYPTION_KEY",
    "AzureWebEncryptionKey", "CONTAINER_ENCRYPTION_KEY", "CODERUNNER_NOT_A_SETTING")}


def reserve_port():
    """A port that nobody listens on, outside the range that the kernel hands out by itself, and that no other suite
    reserves: an abstract socket (unix(7)) of the port's name, held as long as this process lives, says so."""
    for port in range(15000 + os.getpid() * 101 % 15000, 65536):
        claim, probe = socket.socket(socket.AF_UNIX), socket.socket()
        with probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                claim.bind(f"\0coderunner-test-port-{port}")
                probe.bind(("127.0.0.1", port))
            except OSError:
                claim.close()
                continue
        reserve_port.claims.append(claim)
        return port
    raise AssertionError("no free port")


reserve_port.claims = []


def unpack(archive, folder):
    """A deployment's zip, with the modes that it carries (zipfile's own extraction drops them)."""
    with zipfile.ZipFile(archive) as source:
        for entry in source.infolist():
            path = source.extract(entry, folder)
            os.chmod(path, stat.S_IMODE(entry.external_attr >> 16))
    for place, folders, _ in os.walk(folder):
        for name in folders:
            os.chmod(os.path.join(place, name), 0o755)


def assemble(folder):
    """The app of the build directory's programs: what scripts/package makes, without its own Python and libraries."""
    for name in ("host.json", "run", "health"):
        source = TREE / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, os.path.join(folder, name))
    shutil.copy(os.environ["CODERUNNER_BIN"], os.path.join(folder, "coderunner"))
    shutil.copy(os.environ["CODERUNNER_WORKER_BIN"], os.path.join(folder, "coderunner-worker"))


def read_functions(app, prefix):
    """Route -> {name, methods, authLevel}, from each function.json."""
    functions = {}
    for file in pathlib.Path(app).glob("*/function.json"):
        trigger = next(b for b in json.loads(file.read_text())["bindings"] if b["type"] == "httpTrigger")
        functions[f"/{prefix}/{trigger['route']}"] = {
            "name": file.parent.name, "methods": trigger["methods"], "authLevel": trigger["authLevel"]}
    return functions


def as_variables(flags):
    """--name=value as the app settings of a function app: its operator has no other way to set anything."""
    variables = {}
    for flag in flags:
        name, _, value = flag.removeprefix("--").partition("=")
        name = "CODERUNNER_" + name.upper().replace("-", "_")
        variables[name] = f"{variables[name]},{value}" if name in variables else value
    return variables


class HostedService(Service):
    """A service that the host has started; `port` is where the host's own callers are answered."""

    shape = "proxy"
    archive = None  # a deployment's zip; None: the app assembled from the build directory

    def __init__(self, *args, env=None, workers=2, shape=None, function_key=None, site="site.example", **_):
        super().__init__(env={**as_variables([*FLAGS, *args]), **(env or {})}, workers=workers, listen=None)
        self.shape = shape or self.shape
        self.function_key, self.site = function_key, site
        self.front = None
        self.ended = []       # exit statuses of handlers that ended by themselves
        self.error_times = []
        self.state = "starting"

    # -- the app

    def install(self):
        self.home = tempfile.mkdtemp(prefix="functions-test-", dir="/tmp")
        os.chmod(self.home, 0o755)
        self.temp = os.path.join(self.home, "tmp")
        os.mkdir(self.temp)
        os.chmod(self.temp, 0o1777)
        self.app = os.path.join(self.home, "some other place", "wwwroot")
        os.makedirs(self.app)
        unpack(self.archive, self.app) if self.archive else assemble(self.app)
        self.host_json = json.loads(pathlib.Path(self.app, "host.json").read_text())
        description = self.host_json["customHandler"]["description"]
        self.binary = os.path.join(self.app, description["defaultExecutablePath"])
        self.arguments = description["arguments"]
        self.functions = read_functions(self.app, self.host_json["extensions"]["http"]["routePrefix"])
        self.handler_port = reserve_port()

    def environment(self):
        return {**super().environment(), **PLANTED, "WEBSITE_HOSTNAME": self.site,
                "FUNCTIONS_CUSTOMHANDLER_PORT": str(self.handler_port),
                "FUNCTIONS_CUSTOMHANDLER_WORKER_ID": "0f9c2b7e", "CODERUNNER_WORKERS": str(self.workers), **self.env}

    # -- its process

    def _start(self):
        self.start_handler()
        self._await_first_line()
        self.front = functions_front.Front(self.functions, self.shape, self.handler_port, self.function_key)
        self.port = self.front.port

    def start_handler(self):
        self._launch(self.command(*self.arguments), self.app)
        self.await_readiness()
        self.state = "running"

    def await_readiness(self):
        end = time.monotonic() + READY_WITHIN
        while self.process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.handler_port, timeout=READY_WITHIN)
            try:
                connection.request("GET", "/")
                connection.getresponse().read()
                return
            except ConnectionError:
                if time.monotonic() > end:
                    raise AssertionError(f"no answer within {READY_WITHIN} s; {self.errors!r}") from None
            finally:
                connection.close()
            time.sleep(READY_POLL)
        raise AssertionError(f"the handler ended at once: {self.process.returncode} {self.errors!r}")

    def kill_handler(self):
        """The host's only way to end a handler."""
        self.process.send_signal(signal.SIGKILL)
        self._settle()

    def _settle(self):
        self.process.wait(30)
        self.check_nothing_left()
        for reader in self.readers:
            reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()
        Service.running.discard(self.process.pid)

    def follow_exit(self):
        """Waits for the handler's own end, and does what the host does about it: the state is then `running` (again),
        `exited` (status 0 is the end of it) or `stopped` (three errors within half an hour)."""
        status = self.process.wait(60)
        self._settle()
        self.ended.append(status)
        if status == 0:
            self.state = "exited"
            return
        if status != RESTART_STATUS:
            now = time.monotonic()
            self.error_times = [at for at in self.error_times if now - at < ERROR_WINDOW] + [now]
        if len(self.error_times) >= ERRORS_TOLERATED:
            self.state = "stopped"
            return
        self._launch(self.command(*self.arguments), self.app)
        self.state = "running"

    def log(self):
        """[(level, line)]: what the host makes of the handler's output."""
        return ([("Information", line.decode()) for line in self.raw_lines] +
                [("Error", line) for line in self.errors.decode().splitlines()])

    def _abandon(self):
        if self.front:
            self.front.close()
            self.front = None
        super()._abandon()

    # -- callers

    def raw_invoke(self, path, body, invocation, headers=None):
        """A request as the host itself sends it, to the handler's own port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.handler_port, timeout=120)
        try:
            connection.request("POST", path, body=body, headers={
                "Content-Type": "application/json", functions_front.INVOCATION_ID: invocation, **(headers or {})})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()
