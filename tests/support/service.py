"""Role: one real service under test: started, spoken to over HTTP, stopped, and proven to have left nothing behind.
Callers: tests/support/contract.py and the suites that start services of their own.
Law: the production binaries, started as an operator starts them; Python's standard library and nothing else.

MODE names how the service is started, for every suite alike:
  root           as root, with the defaults
  root-reduced   as root with --sandbox=reduced
  root-fresh     as root with --runner=fresh
  user, user-reduced, user-fresh   the same as an ordinary user
  user-reduced-fresh   both
  user-refused   as an ordinary user with the defaults, where the kernel refuses every new user namespace
"""
import ctypes
import glob
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time


def landlock_abi():
    """The kernel's Landlock version, 0 where it has none (landlock_create_ruleset(2) with its flag for that)."""
    return max(0, ctypes.CDLL(None).syscall(444, None, 0, 1))


MODE = os.environ.get("MODE", "root" if os.geteuid() == 0 else "user")
AS_ROOT = MODE.startswith("root")
REFUSED = MODE.endswith("-refused")
REDUCED = REFUSED or "-reduced" in MODE
FLAGS = ["--sandbox=reduced"] * ("-reduced" in MODE) + ["--runner=fresh"] * MODE.endswith("-fresh")
# What jobs run on once the service is warm. At the reduced level that takes Landlock of Linux 6.2.
RUNNER = "fresh" if MODE.endswith("-fresh") or REDUCED and landlock_abi() < 3 else "warm"
PYTHON = "/usr/bin/python3"
# Present in the environment of every service: no script and no log line may ever show it.
SECRET_NAME, SECRET = "PLANTED_SECRET", "planted-0f9c2b7e"
NOBODY = 65534
# Whom a service runs as. Root plays an ordinary user by a number of its own for each suite: the limit on processes
# counts a whole user (setrlimit(2), RLIMIT_NPROC), and suites run side by side.
SERVICE_UID = NOBODY if AS_ROOT else os.geteuid() or 50000 + os.getpid() % 10000
# In front of a command line: what it starts is in a user namespace whose quota of further ones is 0
# (user_namespaces(7), /proc/sys/user), with its own user's number and no capability in it.
WITHOUT_NAMESPACES = ["/usr/bin/unshare", "--user", "--map-current-user", "--keep-caps", "--",
                      "/bin/sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh",
                      "/usr/bin/setpriv", "--ambient-caps=-all", "--inh-caps=-all", "--"]
HANGS = 180  # seconds after which a service is taken not to come up at all; how fast it does is not judged here
PR_SET_CHILD_SUBREAPER = 36  # prctl(2): orphans of a service become ours, so that none can hide

if MODE not in {user + flag for user in ("root", "user") for flag in ("", "-reduced", "-fresh")} | {
        "user-reduced-fresh", "user-refused"}:
    raise SystemExit(f"MODE={MODE}: unknown")
if AS_ROOT and os.geteuid() != 0:
    raise SystemExit(f"MODE={MODE} needs root: configure the build directory as the user who runs the tests")
ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def sanitizer_keeps():
    """What bounds of memory have to leave room for in each process of ours, in bytes: of what has been freed the address
    sanitizer keeps up to 256 MiB (its option quarantine_size_mb), and there is space around everything."""
    return 480 << 20 if b"__asan_init" in pathlib.Path(os.environ["CODERUNNER_BIN"]).read_bytes() else 0


# Variables that tell libraries how many threads to compute with.
THREAD_COUNTS = ("MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def thread_counts(workers):
    """What a script finds in them where a service has so many workers."""
    return dict.fromkeys(THREAD_COUNTS, str(max(1, len(os.sched_getaffinity(0)) // workers)))


def eventually(check, what, seconds=10):
    """Polls `check` until it returns something true, and returns that; fails with the last value seen."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s; last value {value!r}")
        time.sleep(0.02)


# ---- processes, as /proc shows them


def stat_fields(pid):
    """Fields of /proc/PID/stat from the third on (state, ppid, …); None when there is no such process."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2:].split()


def alive(pid):
    fields = stat_fields(pid)
    return fields is not None and fields[0] not in "ZX"


def descendants(root):
    """Pids of all living processes below `root`, parents before children."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = stat_fields(entry)
            if fields and fields[0] not in "ZX":
                children.setdefault(int(fields[1]), []).append(int(entry))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(0), [])
        found += below
        todo += below
    return found


def process_name(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def cpu_seconds(pid):
    fields = stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


class Answer:
    """One HTTP answer, read to its end."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:600]!r}>"


class Service:
    """`with Service("--workers=1") as service:` starts one, and checks at the end that nothing of it is left."""

    running = set()     # pids of the services of this process that are meant to live
    bystanders = set()  # pids of processes that a test runs beside its service

    def __init__(self, *args, env=None, workers=2, listen="127.0.0.1:0"):
        self.args, self.env, self.workers = list(args), dict(env or {}), workers
        if listen:
            self.args.insert(0, f"--listen={listen}")
        self.lines, self.raw_lines, self.errors = [], [], b""
        self.baseline = None

    # -- start

    def __enter__(self):
        try:
            self.install()
            self._start()
            eventually(lambda: self.idle(), f"{self.workers} workers ready", HANGS)
        except BaseException:
            self._abandon()
            raise
        return self

    def install(self):
        # The tree may lie where an ordinary user can not read, so the binaries move to where anybody can.
        self.home = tempfile.mkdtemp(prefix="service-test-", dir="/tmp")
        os.chmod(self.home, 0o755)
        self.temp = os.path.join(self.home, "tmp")
        os.mkdir(self.temp)
        os.chmod(self.temp, 0o1777)
        self.binary = os.path.join(self.home, "coderunner")
        shutil.copy(os.environ["CODERUNNER_BIN"], self.binary)
        shutil.copy(os.environ["CODERUNNER_WORKER_BIN"], os.path.join(self.home, "coderunner-worker"))

    def environment(self):
        kept = {k: v for k, v in os.environ.items() if k in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")}
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": self.temp, SECRET_NAME: SECRET, **kept, **self.env}

    def command(self, *words):
        """A command line of the binary, as the user that MODE asks for."""
        become = []
        if not AS_ROOT and os.geteuid() == 0:
            become = ["/usr/bin/setpriv", f"--reuid={SERVICE_UID}", f"--regid={SERVICE_UID}", "--clear-groups",
                      "--"]
        return [*become, *(WITHOUT_NAMESPACES if REFUSED else []), self.binary, *words]

    def _start(self):
        self._launch(self.command("serve", f"--workers={self.workers}", *FLAGS, *self.args), "/")
        self._await_first_line()

    def _launch(self, command, directory):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=self.environment(), cwd=directory)
        Service.running.add(self.process.pid)
        self.readers = [threading.Thread(target=self._read_log, daemon=True),
                        threading.Thread(target=self._read_errors, daemon=True)]
        for reader in self.readers:
            reader.start()

    def _await_first_line(self):
        first = eventually(lambda: self.lines or self.process.poll() is not None, "the first line of the log", HANGS)
        if first is True or not self.lines:
            raise AssertionError(f"the service ended at once: {self.process.returncode} {self.errors!r}")
        if self.lines[0].get("event") != "service_started":
            raise AssertionError(f"first log line: {self.lines[0]}")
        self.port = self.lines[0]["port"]

    def _read_log(self):
        for line in self.process.stdout:
            self.raw_lines.append(line)
            self.lines.append(json.loads(line))

    def _read_errors(self):
        for line in self.process.stderr:
            self.errors += line

    # -- speak

    def connect(self, timeout=120):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=120):
        connection = self.connect(timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def post(self, fields, path="/api/run", headers=None, timeout=120):
        return self.request("POST", path, json.dumps(fields).encode(),
                            {"Content-Type": "application/json", **(headers or {})}, timeout)

    def post_raw(self, script, query="", headers=None):
        body = script if isinstance(script, bytes) else script.encode()
        return self.request("POST", "/api/run" + query, body, {"Content-Type": "text/plain", **(headers or {})})

    def health(self):
        return self.request("GET", "/api/health").json

    def idle(self):
        """True when every worker is ready and none busy."""
        try:
            answer = self.request("GET", "/api/health")
        except ConnectionError:
            return False
        return answer.status == 200 and answer.json["workers"] == {"ready": self.workers, "busy": 0}

    def wait_busy(self, count=1):
        eventually(lambda: self.health()["workers"]["busy"] == count, f"{count} busy workers")

    # -- look inside

    def worker_pids(self):
        pid = self.process.pid
        return [child for child in descendants(pid)
                if (stat_fields(child) or "00")[1] == str(pid) and process_name(child).startswith("coderunner-work")]

    def templates(self):
        """Pids of the interpreters that warm runners are forked from: the only ones that a worker starts itself."""
        workers = {str(pid) for pid in self.worker_pids()}
        return {pid for pid in descendants(self.process.pid)
                if process_name(pid).startswith("python") and (stat_fields(pid) or "00")[1] in workers}

    def runners(self):
        """Pids of the interpreters that run jobs or wait for them, and of what these have started."""
        templates = self.templates()
        return {pid for pid in descendants(self.process.pid)
                if process_name(pid).startswith("python") and pid not in templates}

    def spinning(self):
        """The pid of the job's process that computes without end, once it does."""
        def busiest():
            best = max(self.runners(), key=cpu_seconds, default=0)
            return best if best and cpu_seconds(best) > 0.3 else 0
        return eventually(busiest, "a script that computes", 20)

    def census(self):
        """What an idle service holds: descriptors of the supervisor, and processes by name."""
        try:
            descriptors = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        except PermissionError:  # a process that gave up root hides them from an ordinary user
            descriptors = None
        names = sorted(process_name(pid) for pid in descendants(self.process.pid))
        return {"descriptors": descriptors, "processes": names}

    def settled_census(self):
        """The census once two in a row agree, and nothing has worked in between or wants to: connections that have just
        ended take a moment to go, and templates may still be importing."""
        eventually(self.idle, "an idle service", 30)
        seen = [None]

        def same_twice():
            time.sleep(0.1)
            work = {pid: (cpu_seconds(pid), (stat_fields(pid) or "X")[0]) for pid in descendants(self.process.pid)}
            seen.append((self.census(), work))
            asleep = all(state == "S" for _, state in work.values())
            return seen[-1][0] if asleep and seen[-1] == seen[-2] else None
        return eventually(same_twice, "a census that stays", HANGS)

    def remember(self):
        """Takes the census that the end is compared with, once jobs run as they will from then on: the first ones start
        afresh while templates are still importing, and a first request opens what is opened lazily."""
        def all_warm():
            runs = [self.post({"script": "pass", "detail": True}).json["run"] for _ in range(2 * self.workers)]
            return {run["runner"] for run in runs} == {RUNNER}
        eventually(all_warm, f"{RUNNER} runners", HANGS)
        self.baseline = self.settled_census()

    def check_nothing_leaked(self):
        eventually(self.idle, "an idle service", 30)
        if self.health()["leaks"]:
            raise AssertionError("a worker has found what a job had left behind")
        try:
            eventually(lambda: self.census() == self.baseline, "the census of the beginning")
        except AssertionError:
            raise AssertionError(f"began with {self.baseline}, ended with {self.census()}") from None

    # -- stop

    def leftovers(self):
        """What of this service is still there after its end: processes, working directories, cgroups."""
        pid = self.process.pid
        reap_orphans()
        left = [f"process {child} {process_name(child)}" for child in descendants(os.getpid())
                if not self._belongs_to_another(child)]
        left += os.listdir(self.temp) + glob.glob(f"/tmp/coderunner-{pid}*")
        for depth in ("", "*/", "*/*/", "*/*/*/", "*/*/*/*/"):
            left += glob.glob(f"/sys/fs/cgroup/{depth}coderunner-{pid}*")
        return sorted(set(left))

    def check_nothing_left(self, seconds=5):
        end = time.monotonic() + seconds
        while left := self.leftovers():
            if time.monotonic() > end:
                raise AssertionError(f"left {seconds} s after the end: {left}")
            time.sleep(0.02)

    def _belongs_to_another(self, pid):
        others = (Service.running | Service.bystanders) - {self.process.pid}
        while pid > 1 and pid != os.getpid():
            if pid in others:
                return True
            fields = stat_fields(pid)
            pid = int(fields[1]) if fields else 0
        return pid != os.getpid()

    def terminate(self, seconds=45):
        """SIGTERM; the exit status, which is checked, and that nothing is left."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait_end(seconds)

    def wait_end(self, seconds=45):
        status = self.process.wait(seconds)
        self.check_nothing_left()
        for reader in self.readers:
            reader.join(10)
        Service.running.discard(self.process.pid)
        return status

    def __exit__(self, kind, error, trace):
        try:
            if kind is None and self.process.poll() is None:
                if self.baseline:
                    self.check_nothing_leaked()
                status = self.terminate()
                if status != 0:
                    raise AssertionError(f"SIGTERM: exit status {status}; {self.errors.decode(errors='replace')}")
            for line in self.raw_lines:
                if SECRET.encode() in line:
                    raise AssertionError(f"the log shows a secret: {line!r}")
        except BaseException as failure:
            failure.add_note("standard error of the service: " + self.errors.decode(errors="replace")[-3000:])
            raise
        finally:
            self._abandon()

    def _abandon(self):
        process = getattr(self, "process", None)
        if process:
            if process.poll() is None:
                process.kill()
                process.wait()
            Service.running.discard(process.pid)
            for reader in self.readers:
                reader.join(5)
            process.stdout.close()
            process.stderr.close()
        shutil.rmtree(getattr(self, "home", ""), ignore_errors=True)


def reap_orphans():
    """Zombies that have become our children: dead already, only their exit status waits."""
    try:
        for pid in map(int, pathlib.Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()):
            fields = stat_fields(pid)
            if fields and fields[0] == "Z" and pid not in Service.running and pid not in Service.bystanders:
                os.waitpid(pid, os.WNOHANG)
    except (ChildProcessError, FileNotFoundError):
        pass
