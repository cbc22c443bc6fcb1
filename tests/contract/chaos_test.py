"""Role: a service whose processes die at random and whose machine runs out of things: every request gets one answer,
the right one or one that says whose fault it was, and afterwards nothing is missing and nothing is left.
Callers: meson test, in the modes that tests/meson.build names. CHAOS_SECONDS=N for another length, CHAOS_SEED=N for
another order of deaths.
"""
import concurrent.futures
import os
import pathlib
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest

from contract import ServiceTest, main
from limited_service import Limited
from live_stream import EVERY_FORM, ask
from service import PYTHON, RUNNER, Service, descendants, eventually, process_name, sanitizer_keeps, stat_fields

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
REASON = "[Internal execution error] "
SPIN = {"script": "while True: pass", "timeout_s": 60}
SLACK = sanitizer_keeps() + (32 << 20)


def born(pid):
    """When a process began (proc(5), field 22 of stat): with its number, what tells it from all others."""
    fields = stat_fields(pid)
    return fields[19] if fields else None


def family(service):
    """The processes of a service by kind: {kind: [(pid, born)]}."""
    below = {pid: (process_name(pid), stat_fields(pid)) for pid in descendants(service.process.pid)}
    parents = {pid: int(fields[1]) for pid, (_, fields) in below.items() if fields}
    workers = {pid for pid, parent in parents.items()
               if parent == service.process.pid and below[pid][0].startswith("coderunner-work")}
    kinds = {"worker": [], "init": [], "template": [], "runner": []}
    for pid, parent in parents.items():
        name, fields = below[pid]
        if name.startswith("coderunner-work"):
            kind = "worker" if pid in workers else "init"
        elif name.startswith("python"):
            kind = "template" if parent in workers else "runner"
        else:
            continue  # the keeper
        kinds[kind].append((pid, fields[19]))
    return kinds


def hit(service, kind, chance):
    """SIGKILL for a process of this kind, if there is any: never for another that has got its number meanwhile."""
    victims = family(service)[kind]
    if not victims:
        return False
    pid, began = chance.choice(victims)
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if born(pid) != began:
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


class Storm:
    """Clients that send runs with known answers, one after the other, until told to stop."""

    def __init__(self, service, clients):
        self.service, self.over, self.right = service, threading.Event(), 0
        self.threads = concurrent.futures.ThreadPoolExecutor(clients)
        self.running = [self.threads.submit(self._client, number) for number in range(clients)]

    def _client(self, number):
        """What became of each run: its kind, and how often."""
        kinds = {}
        for turn in range(10**9):
            if self.over.is_set():
                return kinds
            kind = self._run_one(f"client {number} turn {turn}", EVERY_FORM[turn % len(EVERY_FORM)])
            self.right += kind == "right"
            kinds[kind] = kinds.get(kind, 0) + 1

    def _run_one(self, token, accept):
        script = (f"import time\nprint({token!r}, flush=True)\ntime.sleep({random.Random(token).random() / 20})\n"
                  f"open('output/a', 'w').write({token!r})\nprint('end')\n")
        status, result = ask(self.service, {"script": script, "detail": True}, accept)
        if status in (500, 503):
            assert len(result["error"]) > 5, result
            return f"refused {status}"
        assert status == 200, (status, result)
        if result["exit_code"] == 0:
            assert result["stdout"] == f"{token}\nend\n" and result["artifacts"] == {"a": token}, result
            return "right"
        # Output is that of this run and no other's, as far as it came.
        assert f"{token}\nend\n".startswith(result["stdout"]), result
        if result["exit_code"] == -1:
            assert len(result["stderr"].split(REASON)[1]) > 5, result
            return "lost"
        assert (result["exit_code"], result["run"]["verdict"], result["run"]["signal"]) == (137, "killed", 9), result
        return "killed"

    def end(self):
        self.over.set()
        total = {}
        for client in self.running:
            for kind, count in client.result().items():
                total[kind] = total.get(kind, 0) + count
        self.threads.shutdown()
        return total


class RandomDeaths(ServiceTest):
    """kill -9 of each kind of process, at random moments, under load."""

    workers = 2
    arguments = ["--preload=json,re"]  # templates that are soon there again

    def test_every_run_gets_one_answer_and_nothing_is_lost_or_left(self):
        memory, files = self.memory(), self.files()
        names = sorted(kind for kind, members in family(self.service).items() if members)
        self.assertEqual(names, ["init", "runner"] + ["template"] * (RUNNER == "warm") + ["worker"])
        chance, deaths = random.Random(SEED), dict.fromkeys(names, 0)
        storm = Storm(self.service, 4)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end or min(deaths.values()) == 0:
            name = chance.choice(names)
            deaths[name] += hit(self.service, name, chance)
            self.assertIsNone(self.service.process.poll(), "the service lives")
            self.assertFalse(any(client.done() for client in storm.running), "a client gave up")
            time.sleep(chance.random() / 2)
        outcomes = storm.end()
        print(f"deaths {deaths}, answers {outcomes}")
        self.assertGreater(outcomes.get("right", 0), 0)
        eventually(self.service.idle, "all workers ready again", 60)
        self.assert_still_serves()
        # A worker whose template has died thrice goes on without one, so the census is that of two new workers.
        for pid in self.service.worker_pids():
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: pid not in self.service.worker_pids(), "the worker gone", 30)
        eventually(self.service.idle, "two other workers", 60)
        eventually(lambda: self.service.census() == self.service.baseline, "the census of the beginning", 60)
        eventually(lambda: self.files() == files, "the files of the beginning", 30)
        # The allocator keeps some of what a storm took; a leak for each answer or death would be many times that.
        self.assertLess(self.memory(), memory + SLACK)

    def files(self):
        return sum(len(folders) + len(names) for _, folders, names in os.walk(self.service.temp))

    def memory(self):
        text = self.service.request("GET", "/metrics").body.decode()
        return float(re.search(r"^process_resident_memory_bytes (\S+)$", text, re.M).group(1))


class OutOfDescriptors(unittest.TestCase):
    def setUp(self):
        self.service = self.enterContext(Limited("--descriptors=48", workers=1))
        self.service.remember()

    def post(self, text):
        return self.service.post({"script": text})

    def test_connections_take_none_from_jobs(self):
        service = self.service
        with concurrent.futures.ThreadPoolExecutor(9) as threads:
            running = threads.submit(self.post, "import time; time.sleep(1); print('ran')")
            service.wait_busy()
            idle = [service.connect() for _ in range(200)]
            for connection in idle:
                connection.connect()
            later = [threads.submit(self.post, f"print({number})") for number in range(8)]
            self.assertEqual(running.result().json["stdout"], "ran\n")
            self.assertEqual([answer.result().json["stdout"] for answer in later], [f"{n}\n" for n in range(8)])
            hit(service, "worker", random.Random(SEED))
            eventually(service.idle, "another worker", 60)
            self.assertEqual(self.post("print(1)").json["stdout"], "1\n")
            self.assertNotIn(b"EMFILE", service.errors)
            for connection in idle:
                connection.close()

    def test_it_serves_again_when_descriptors_are_free_and_replaces_what_died_meanwhile(self):
        service = self.service
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            running = threads.submit(self.post, "import time; time.sleep(1); print('ran')")
            service.wait_busy()
            service.allow(3)
            later = [threads.submit(self.post, "print('later')") for _ in range(3)]
            self.assertEqual(running.result().json["stdout"], "ran\n")
            hit(service, "worker", random.Random(SEED))
            eventually(lambda: b"EMFILE" in service.errors, "a worker that can not be born, with the reason", 30)
            service.allow(128)
            # accept(2) had a descriptor for the next connection before it began to wait: that one can not wait here.
            answers = [answer.result() for answer in later]
            turned_away = [answer for answer in answers if answer.status == 503]
            self.assertLess(len(turned_away), len(answers))
            for answer in turned_away:
                self.assertIn("EMFILE", answer.json["error"])
                self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)
            for answer in set(answers) - set(turned_away):
                self.assertEqual(answer.json["stdout"], "later\n", answer)
            eventually(service.idle, "another worker", 60)
            self.assertEqual(self.post("print(1)").json["stdout"], "1\n")


class Interpreters(unittest.TestCase):
    """Interpreters that worked when the service began and fail later; templates that never become ready."""

    def setUp(self):
        """A virtual environment of the interpreter: its own binary, and modules of its own."""
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="chaos-test-", dir="/var/tmp")))
        self.modules = self.folder / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
        self.modules.mkdir(parents=True)
        self.python = self.folder / "bin" / "python3"
        self.python.parent.mkdir()
        shutil.copy(os.path.realpath(PYTHON), self.python)
        (self.folder / "pyvenv.cfg").write_text(f"home = {os.path.dirname(PYTHON)}\n")
        os.chmod(self.folder, 0o755)

    def test_a_python_that_fails_to_start_is_told_until_it_starts_again(self):
        with Service(f"--python={self.python}", "--preload=none", workers=1) as service:
            self.assertEqual(service.post({"script": "print(1)"}).json["stdout"], "1\n")
            good, broken = self.folder / "good", self.folder / "broken"
            os.link(self.python, good)
            broken.write_text("#!/bin/sh\nexit 3\n")
            broken.chmod(0o755)
            broken.replace(self.python)
            hit(service, "worker", random.Random(SEED))

            def refused():
                answer = service.post({"script": "print(1)"})
                if answer.status == 503:
                    return answer
                self.assertEqual(answer.status, 200, answer)
                self.assertTrue(answer.json["stdout"] == "1\n" or REASON in answer.json["stderr"], answer)
                return None
            eventually(refused, "503", 60)
            for accept in EVERY_FORM:
                answer = service.post({"script": "print(1)"}, headers={"Accept": accept})
                self.assertEqual((answer.status, list(answer.json)), (503, ["error"]), answer)
                self.assertIn("no worker can start", answer.json["error"])
                self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)
            self.assertEqual(service.request("GET", "/api/health").status, 503)
            self.assertTrue(service.health()["trouble"])
            good.replace(self.python)
            eventually(service.idle, "a worker", 60)
            self.assertEqual(service.post({"script": "print(1)"}).json["stdout"], "1\n")

    def test_a_template_that_hangs_or_dies_costs_nothing_but_warmth(self):
        # A module of another system has a name of the standard library's, and its place is free here.
        for what, text in (("hangs", "import time\ntime.sleep(1e6)\n"), ("dies", "import os\nos._exit(3)\n")):
            for name, runners in (("winsound", {"fresh"}), ("a_package", {"fresh", "warm"})):
                (self.modules / f"{name}.py").write_text(text)
                with self.subTest(what, name=name), Service(f"--python={self.python}", f"--preload={name}",
                                                            workers=1) as service:
                    for turn in range(3):
                        result = service.post({"script": f"import sys\nif not sys: import {name}\nprint({turn})",
                                               "detail": True}).json
                        self.assertEqual(result["stdout"], f"{turn}\n")
                        self.assertIn(result["run"]["runner"], runners)
                    eventually(service.idle, "an idle service", 30)


if __name__ == "__main__":
    main()
