"""Role: mixed jobs on one service for a while: nothing of it grows, of any of its processes.
Callers: meson test, in the modes that tests/meson.build names; scripts/soak for longer. SOAK_SECONDS=N: how long.
Law: what is compared are two readings at rest, after a warm-up and at the end, so that the bounds need no guess about
what is in flight. They are the same for every length: the longer it runs, the smaller the leak that it finds.
"""
import concurrent.futures
import glob
import os
import random
import threading
import time

from chaos_test import family
from contract import ServiceTest, main
from live_stream import EVERY_FORM, ask
from service import descendants, process_name, sanitizer_keeps

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))  # under load between the two readings
WARM_UP = max(5.0, SECONDS / 10)
CLIENTS, LINE_SECONDS = 4, 10
PAGE = os.sysconf("SC_PAGE_SIZE")

# What is sent, and what its answer must hold.
JOBS = [
    ({"script": "print('hello')"}, {"exit_code": 0, "stdout": "hello\n"}),
    ({"script": "print(open('input/a').read())", "context": {"a": "x" * 100_000}}, {"exit_code": 0}),
    ({"script": "open('output/a', 'w').write('y' * 100_000)"}, {"artifacts": {"a": "y" * 100_000}}),
    ({"script": "1/0", "detail": True}, {"exit_code": 1}),
    ({"script": "print('z' * 1_000_000)"}, {"stdout": "z" * 1_000_000 + "\n"}),
    ({"script": "import os; os.kill(os.getpid(), 9)"}, {"exit_code": 137}),
    ({"script": "while True: pass", "timeout_s": 1}, {"exit_code": 124}),
    ({"script": "import subprocess; subprocess.Popen(['sleep', '100'])"}, {"exit_code": 0}),
    ({"script": "b'x' * 2**33"}, {"exit_code": 137}),
    ({"script": "import numpy; print(numpy.arange(4).sum())"}, {"stdout": "6\n"}),
    ({"files": {"m.py": "import n", "n.py": "print(1)"}, "entry_point": "m.py"}, {"stdout": "1\n"}),
]

# Memory of its own by which all processes of a kind together may grow, in bytes. A leak of 64 KiB a job is several
# times that after twenty seconds. A supervisor has a thread for each connection, and the allocator an arena for each
# thread, which fills up to the largest answers that it had to hold (malloc(3), M_ARENA_MAX); a worker has one thread;
# a template does nothing but fork. Inits and runners live for one job: of these only the number can grow.
ROOM = {"supervisor": 8 << 20, "keeper": 1 << 20, "worker": 4 << 20, "template": 4 << 20}


def own_memory(pid):
    """Resident and not of a file or shared (proc(5), statm): everybody may read that of any process."""
    with open(f"/proc/{pid}/statm") as file:
        _, resident, shared, *_ = map(int, file.read().split())
    return (resident - shared) * PAGE


def descriptors(pid):
    """How many are open; 0 where an ordinary user may not look."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return 0


class Soak(ServiceTest):
    def rest(self):
        """{what: how much} of an idle service."""
        service = self.service
        service.settled_census()
        kinds = {kind: [pid for pid, _ in members] for kind, members in family(service).items()}
        kinds["supervisor"] = [service.process.pid]
        kinds["keeper"] = [pid for pid in descendants(service.process.pid) if process_name(pid) == "coderunner-keep"]
        reading = {f"{kind} processes": len(pids) for kind, pids in kinds.items()}
        for kind in ROOM:
            reading[f"{kind} descriptors"] = sum(map(descriptors, kinds[kind]))
            reading[f"{kind} bytes"] = sum(map(own_memory, kinds[kind]))
        reading["files"] = sum(len(folders) + len(files) for _, folders, files in os.walk(service.temp))
        trees = [f"/sys/fs/cgroup/{depth}coderunner-{service.process.pid}/**/"
                 for depth in ("", "*/", "*/*/", "*/*/*/")]
        reading["cgroups"] = sum(len(glob.glob(tree, recursive=True)) for tree in trees)
        return reading

    def client(self, seed, over):
        """Answers that were right; the first that is not fails the test."""
        chance, count = random.Random(seed), 0
        while not over.is_set():
            fields, promised = chance.choice(JOBS)
            if chance.random() < 0.05:  # goes away
                connection = self.service.connect()
                connection.request("POST", "/api/run", b'{"script": "while True: pass", "timeout_s": 60}')
                time.sleep(chance.random() / 5)
                connection.close()
                continue
            status, answer = ask(self.service, fields, chance.choice(EVERY_FORM))
            self.assertEqual(status, 200, answer)
            self.assertEqual({name: answer.get(name) for name in promised}, promised, answer)
            count += 1
        return count

    def load(self, seconds, seed):
        over, end, started = threading.Event(), time.monotonic() + seconds, time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as threads:
            clients = [threads.submit(self.client, seed * CLIENTS + number, over) for number in range(CLIENTS)]
            pid = self.service.process.pid
            while (left := end - time.monotonic()) > 0 and not any(one.done() for one in clients):
                concurrent.futures.wait(clients, min(LINE_SECONDS, left), concurrent.futures.FIRST_COMPLETED)
                print(f"{time.monotonic() - started:.0f} s: supervisor {own_memory(pid) >> 10} KiB,",
                      f"{len(descendants(pid))} processes below it", flush=True)
            over.set()
            return sum(one.result() for one in clients)

    def test_nothing_grows(self):
        self.load(WARM_UP, 0)
        before = self.rest()
        answers = self.load(SECONDS, 1)
        after = self.rest()
        self.assertGreater(answers, 0)
        print(f"{answers} answers; at rest before and after:")
        for what, count in before.items():
            print(f"  {what:24}{count:>12}{after[what]:>12}")
        self.assertEqual(set(before), set(after))
        for what, count in before.items():
            kind, _, unit = what.partition(" ")
            with self.subTest(what):
                if unit == "bytes":
                    kept = before[f"{kind} processes"] * sanitizer_keeps()
                    self.assertLess(after[what], count + ROOM[kind] + kept)
                else:
                    self.assertEqual(after[what], count)


if __name__ == "__main__":
    main()
