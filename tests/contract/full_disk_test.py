"""Role: no space, or no names, under the temporary directory: each run is answered right, or fails with the reason.
Callers: meson test, in the modes that tests/meson.build names.
"""
import errno
import os
import pathlib
import re
import subprocess
import unittest

from chaos_test import REASON
from contract import main, script
from live_stream import LINES, Stream
from service import AS_ROOT, PYTHON, REDUCED, Service, eventually

SIZE = 4 << 20  # of the disk; the scratch space of a job is larger
NAMES = 256

# mount(8) asks for root, mount(2) for a capability, which the first process of a user namespace has in there
# (user_namespaces(7); tmpfs may be mounted so).
MOUNT = f"""import ctypes, os, sys
if ctypes.CDLL(None).mount(b"tmpfs", os.environb[b"TMPDIR"], b"tmpfs", 0, b"size={SIZE},nr_inodes={NAMES},mode=1777"):
    sys.exit("no small disk")
os.execv(sys.argv[1], sys.argv[1:])
"""
# How to get there, and back to nothing but the user.
ALONE = ["--propagation=private"] if AS_ROOT else ["--user", "--map-current-user", "--keep-caps"]
AS_BEFORE = [] if AS_ROOT else ["/usr/bin/setpriv", "--ambient-caps=-all", "--inh-caps=-all", "--"]


class SmallDisk(Service):
    """A service whose temporary directory is a disk of 4 MiB and 256 names, which nobody else sees."""

    def command(self, *words):
        line = super().command(*words)
        at = line.index(self.binary)
        return [*line[:at], "/usr/bin/unshare", *ALONE, "--mount", "--", PYTHON, "-c", MOUNT, *AS_BEFORE, *line[at:]]

    def disk(self):
        return pathlib.Path(f"/proc/{self.process.pid}/root{self.temp}")

    def names(self):
        """Of all that lies on it."""
        found = subprocess.run(["/usr/bin/find", self.disk(), "-mindepth", "1", "-printf", "%P\n"], capture_output=True,
                               text=True, timeout=60)  # what goes away meanwhile is no failure
        return sorted(found.stdout.splitlines())

    def on_disk(self, program, *words):
        """Runs a program of the test's as the service's user, whom the owner of a file has to be known to."""
        *become, _ = Service.command(self)
        subprocess.run([*become, PYTHON, "-c", program, self.disk(), *map(str, words)], check=True, timeout=60)


FILL = """import pathlib, sys
disk, leave = pathlib.Path(sys.argv[1]), int(sys.argv[2])
with open(disk / "filler", "wb", buffering=0) as file:
    try:
        while True: file.write(bytes(4096))
    except OSError: pass
    file.truncate(file.tell() - leave)
"""
FILL_NAMES = """import pathlib, sys
made, leave = [], int(sys.argv[2])
try:
    for number in range(10000):
        made.append(pathlib.Path(sys.argv[1], f"filler{number}"))
        made[-1].touch()
except OSError: made.pop()
for path in made[:leave]: path.unlink()
"""
EMPTY = """import pathlib, sys
for path in pathlib.Path(sys.argv[1]).glob("filler*"): path.unlink()
"""

TEXT = "x" * 1_000_000
# What a run needs of a disk, where it works on one. What is sent, and the members of its right answer.
NEEDS = [
    ("a script", {"script": "print('ran')"}, {"stdout": "ran\n"}),
    ("files of its own", {"script": f"open('a', 'w').write('x' * {len(TEXT)})\nprint('ran')"}, {"stdout": "ran\n"}),
    ("artifacts", {"script": f"open('output/a', 'w').write('x' * {len(TEXT)})"}, {"artifacts": {"a": TEXT}}),
    ("input files", {"script": "print(len(open('input/a').read()))", "context": {"a": TEXT}}, {"stdout": "1000000\n"}),
    ("a project", {"files": {"m.py": "import n.o", "n/o.py": "print('ran')", "n/data": TEXT}, "entry_point": "m.py"},
     {"stdout": "ran\n"}),
    ("standard input", {"script": "print(len(input()))", "stdin": TEXT}, {"stdout": "1000000\n"}),
]
# How the disk is filled beforehand; of names the sandbox before, which is being cleared away, may give some back.
DEGREES = [("no byte", FILL, 0), ("a few bytes", FILL, 65536), ("no name", FILL_NAMES, 0), ("one name", FILL_NAMES, 1),
           ("three names", FILL_NAMES, 3)]


class FullDisk(unittest.TestCase):
    def outcome(self, answer, right):
        """"right", or whose fault it was; an answer that is neither fails the test."""
        if answer.status == 503:
            self.assertIn("ENOSPC", answer.json["error"])
            return "refused"
        self.assertEqual(answer.status, 200, answer)
        result = answer.json
        if result["exit_code"] == 0:
            self.assertEqual({name: result[name] for name in right}, right)
            return "right"
        if result["exit_code"] == -1:
            self.assertRegex(result["stderr"].split(REASON)[1], "no room|ENOSPC")
            return "lost"
        exception = result["run"]["exception"]
        self.assertEqual((result["exit_code"], exception["type"]), (1, "OSError"), result)
        self.assertIn(f"[Errno {errno.ENOSPC}]", exception["message"])
        return "failed"

    def check(self, outcomes):
        """At the full level a job works in memory of its own, so that only the reduced one needs the disk."""
        print(outcomes)
        if REDUCED:
            self.assertNotEqual(set(outcomes), {"right"}, "the disk was full")
        else:
            self.assertEqual(set(outcomes), {"right"})

    def runs(self, service):
        return [self.outcome(service.post({**fields, "detail": True}), right) for _, fields, right in NEEDS]

    def assert_nothing_left(self, service, before):
        # The sandbox that waits for the next job has a folder, named by who it comes of.
        same = lambda names: sorted(re.sub(r"/(warm-\d+|fresh)", "/next", name) for name in names)
        try:
            eventually(lambda: same(service.names()) == same(before), "the files of the beginning", 30)
        except AssertionError as failure:
            failure.add_note(f"began with {before}, ended with {service.names()}")
            raise

    def test_runs_on_a_full_disk_say_so_and_the_service_recovers(self):
        with SmallDisk(workers=1) as service:
            service.remember()
            before = service.names()
            for name, fill, leave in DEGREES:
                with self.subTest(name):
                    service.on_disk(fill, leave)
                    outcomes = self.runs(service)
                    if fill == FILL or not REDUCED:
                        self.check(outcomes)
                    self.assertIn(service.request("GET", "/api/health").status, (200, 503))
                    service.on_disk(EMPTY)
                    eventually(service.idle, "an idle service", 60)
                    self.assertEqual(set(self.runs(service)), {"right"})
                    self.assert_nothing_left(service, before)

    def test_input_that_is_larger_than_the_disk(self):
        with SmallDisk(workers=1) as service:
            service.remember()
            before = service.names()
            files = {"a": "x" * (SIZE + 4096), "b": "y"}
            for fields in ({"script": "print('ran')", "context": files},
                           {"files": {**files, "m.py": "print('ran')"}, "entry_point": "m.py"}):
                self.check([self.outcome(service.post({**fields, "detail": True}), {"stdout": "ran\n"})])
                self.assertEqual(set(self.runs(service)), {"right"})
                self.assert_nothing_left(service, before)

    def test_a_job_that_fills_it_while_others_run(self):
        text = script(f"""
            import time
            with open('a', 'wb', buffering=0) as file:
                try:
                    for _ in range({2 * SIZE} // 4096): file.write(bytes(4096))
                except OSError as error: print(error.errno, end='', flush=True)
                else: print('fits', end='', flush=True)
                time.sleep(600)
            """)
        with SmallDisk(workers=2) as service:
            service.remember()
            before = service.names()
            stream = Stream(service, {"script": text}, LINES).read_head()
            said = next(stream.events())
            self.assertEqual(said, ("stdout", {"data": str(errno.ENOSPC) if REDUCED else "fits"}))
            self.check(self.runs(service))
            stream.close()  # which cancels it
            eventually(service.idle, "an idle service", 60)
            self.assertEqual(set(self.runs(service)), {"right"})
            self.assert_nothing_left(service, before)


if __name__ == "__main__":
    main()
