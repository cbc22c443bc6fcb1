// Role: what people use Python for works under the filters, at both levels, as root and as anybody.
// Law: the scripts assert; one that fails says so on standard error and exits with 1.
#include <doctest/doctest.h>
#include <unistd.h>

#include "common/sys.h"
#include "support/under_filter.h"
#include "worker/privileges.h"

namespace coderunner {
namespace {

using test::ending;
using test::kIdentities;
using test::under;

std::string run_python_script(const char* script) {
  const char* argv[] = {"python3", "-I", "-c", script, nullptr};
  const char* environment[] = {"PATH=/usr/bin:/bin", "HOME=/nonexistent", "OPENBLAS_NUM_THREADS=2", nullptr};
  ::execve("/usr/bin/python3", const_cast<char**>(argv), const_cast<char**>(environment));
  return sys::last_error("execve").message;
}

struct PythonRow {
  std::string what;
  bool reduced;  // works at the reduced level, too
  const char* script;
};

const PythonRow kPython[] = {
    {"threads", true, R"PY(
import threading, queue, concurrent.futures as f
q = queue.Queue(); t = [threading.Thread(target=q.put, args=(i,)) for i in range(8)]
[x.start() for x in t]; [x.join() for x in t]
assert sorted(q.get() for _ in t) == list(range(8))
assert list(f.ThreadPoolExecutor(4).map(abs, [-1, -2])) == [1, 2])PY"},
    {"subprocess", true, R"PY(
import subprocess, os, sys
assert subprocess.run(["/bin/sh", "-c", "echo a; cat"], input=b"b", capture_output=True).stdout == b"a\nb"
assert subprocess.run([sys.executable, "-c", ""], start_new_session=True, close_fds=True).returncode == 0
p = subprocess.Popen(["/bin/sleep", "100"], preexec_fn=os.setpgrp)
p.terminate(); assert p.wait() == -15
assert os.waitpid(os.fork() or os._exit(3), 0)[1] == 3 << 8
assert os.system("exit 4") == 4 << 8)PY"},
    {"multiprocessing", true, R"PY(
import multiprocessing as mp, operator
from multiprocessing import shared_memory
for how in ("fork", "spawn"):
    with mp.get_context(how).Pool(2) as pool:
        assert pool.map(operator.neg, range(4)) == [0, -1, -2, -3], how
m = shared_memory.SharedMemory(create=True, size=64); m.buf[0] = 7; m.close(); m.unlink()
s = mp.Semaphore(1); assert s.acquire() and not s.acquire(block=False); s.release()
a, b = mp.Pipe(); a.send([1]); assert b.recv() == [1]
q = mp.SimpleQueue(); q.put(1); assert q.get() == 1)PY"},
    {"multiprocessing by a fork server, which listens on a Unix socket", false, R"PY(
import multiprocessing as mp, operator
with mp.get_context("forkserver").Pool(2) as pool: assert pool.map(operator.neg, range(3)) == [0, -1, -2])PY"},
    {"asyncio", false, R"PY(
import asyncio, sys
async def serve(r, w):
    w.write(await r.readline()); await w.drain(); w.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    r, w = await asyncio.open_connection(*server.sockets[0].getsockname())
    w.write(b"hello\n"); assert await r.readline() == b"hello\n"; w.close()
    p = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(5)", stdout=asyncio.subprocess.PIPE)
    assert (await p.communicate())[0] == b"5\n"
    assert await asyncio.to_thread(lambda: 6) == 6
    server.close()
asyncio.run(main()))PY"},
    {"asyncio without a network", true, R"PY(
import asyncio, socket
async def main():
    a, b = socket.socketpair()
    r, w = await asyncio.open_unix_connection(sock=a)
    b.sendall(b"x\n"); assert await r.readline() == b"x\n"
    await asyncio.gather(asyncio.sleep(0), asyncio.to_thread(int))
    w.close()
asyncio.run(main()))PY"},
    {"files, memory, signals, timers", true, R"PY(
import ctypes, mmap, os, resource, select, shutil, signal, sqlite3, sys, tempfile, time, random, uuid, platform
with tempfile.TemporaryDirectory() as d:
    p = os.path.join(d, "a"); open(p, "w").write("x" * 9000); shutil.copy2(p, p + "2"); os.mkfifo(p + "f")
    os.chmod(p, 0o600); os.utime(p); os.link(p, p + "l"); os.symlink(p, p + "s")
    os.truncate(p, 10); os.rename(p, p + "r")
    assert sorted(os.listdir(d)) == ["a2", "af", "al", "ar", "as"]
    db = sqlite3.connect(os.path.join(d, "db"))
    db.execute("create table t(x)"); db.execute("insert into t values(1)"); db.commit()
    with open(p + "r", "r+b") as f:
        mmap.mmap(f.fileno(), 0).flush(); os.fsync(f.fileno()); os.posix_fallocate(f.fileno(), 0, 4096)
got = []; signal.signal(signal.SIGALRM, lambda *a: got.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.01)
while not got: signal.pause()
signal.pthread_kill(__import__("threading").get_ident(), 0); os.kill(os.getpid(), 0)
r, w = os.pipe(); e = select.epoll(); e.register(r, select.EPOLLIN); os.write(w, b"x"); assert e.poll(1)
fd = os.memfd_create("x"); os.write(fd, b"abc"); os.sendfile(w, fd, 0, 3)
if hasattr(os, "eventfd"): os.eventfd(0)
if hasattr(os, "pidfd_open"): os.close(os.pidfd_open(os.getpid()))
assert ctypes.CDLL(None).getpid() == os.getpid()
resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); resource.getrusage(resource.RUSAGE_SELF)
os.sched_setaffinity(0, os.sched_getaffinity(0)); os.nice(0); os.sched_yield()
time.clock_gettime(time.CLOCK_MONOTONIC); time.sleep(0.001); uuid.uuid4(); os.getrandom(8); platform.platform()
assert not open("/dev/null").isatty())PY"},
    {"numpy and pandas, where they are installed", true, R"PY(
import importlib.util as u, sys
if u.find_spec("numpy") is None or u.find_spec("pandas") is None: sys.exit(0)
import numpy, pandas
assert numpy.linalg.norm(numpy.ones((200, 200)) @ numpy.ones((200, 200))) > 0
assert pandas.DataFrame({"k": ["a", "b", "a"], "v": [1, 2, 3]}).groupby("k").v.sum().to_dict() == {"a": 4, "b": 2})PY"},
    {"scipy and matplotlib, where they are installed", true, R"PY(
import importlib.util as u, io, logging, sys
logging.disable()
if u.find_spec("scipy") is None or u.find_spec("matplotlib") is None: sys.exit(0)
import scipy.optimize, matplotlib; matplotlib.use("agg"); import matplotlib.pyplot as plt
assert abs(scipy.optimize.brentq(lambda x: x * x - 2, 0, 2) - 2 ** 0.5) < 1e-6
plt.plot([1, 2]); plt.savefig(io.BytesIO()))PY"},
};

TEST_CASE("Python works under the filters") {
  for (const PythonRow& row : kPython) {
    CAPTURE(row.what);
    for (const test::FilterKind kind : {test::FilterKind::kScriptFull, test::FilterKind::kScriptReduced}) {
      if (kind == test::FilterKind::kScriptReduced && !row.reduced) continue;
      CAPTURE(static_cast<int>(kind));
      const test::Piece sandboxed = [&] {
        if (const auto done = drop_privileges(); !done) return done.error().message;
        return under({test::FilterKind::kWorker, kind}, [&] { return run_python_script(row.script); });
      };
      for (const test::Identity identity : kIdentities) {
        CHECK(identity([&] { return ending(sandboxed); }) == "exit 0");
      }
    }
  }
}

TEST_CASE("Python sees refusals as errors, not as crashes") {
  const char* const script = R"PY(
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x10000000) == -1 and ctypes.get_errno() == errno.EPERM
assert libc.ptrace(0, 0, 0, 0) == -1 and ctypes.get_errno() == errno.EPERM
try: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW); raise SystemExit(2)
except PermissionError: pass)PY";
  CHECK(ending([&] { return under({test::FilterKind::kWorker, test::FilterKind::kScriptFull},
                                  [&] { return run_python_script(script); }); }) == "exit 0");
}

}  // namespace
}  // namespace coderunner
