"""Role: what well-behaved scripts use works in the sandbox as it does outside.
Callers: meson test, once a mode of starting the service.
"""
import base64

from contract import ServiceTest, main
from service import REDUCED

# name, script, output.
ROWS = [
    ("numpy", """
        import numpy as np
        print((np.arange(6).reshape(2, 3) @ np.ones((3, 2))).tolist())
        a = np.random.default_rng(1).random((300, 300))
        print(round(float(np.linalg.det(np.eye(50))), 6), (a @ np.linalg.inv(a)).round(3).trace().round())
        """, '[[3.0, 3.0], [12.0, 12.0]]\n1.0 300.0\n'),
    ("pandas", """
        import io, pandas as pd
        d = pd.read_csv(io.StringIO('k,v\\na,1\\nb,2\\na,3\\n'))
        print(d.groupby('k').v.sum().to_dict())
        d.to_csv('output/d.csv', index=False)
        print(pd.read_csv('output/d.csv').equals(d))
        """, "{'a': 4, 'b': 2}\nTrue\n"),
    ("scipy", """
        from scipy import integrate, optimize
        print(round(integrate.quad(lambda x: x * x, 0, 3)[0], 6))
        print(round(float(optimize.brentq(lambda x: x * x - 2, 0, 2)), 6))
        """, '9.0\n1.414214\n'),
    ("scipy's linear algebra", """
        import numpy as np
        from scipy import linalg, sparse
        from scipy.sparse.linalg import spsolve
        a = np.diag([2.0, 4.0]) + np.array([[0, 1], [0, 0]])
        print(linalg.solve(a, [5, 8]).tolist(), round(float(linalg.svdvals(a).prod()), 6))
        print(spsolve(sparse.csc_matrix(a), np.array([5.0, 8.0])).tolist())
        """, '[1.5, 2.0] 8.0\n[1.5, 2.0]\n'),
    ("numpy in threads of its own and of the script", """
        import numpy as np
        from concurrent.futures import ThreadPoolExecutor
        a = np.ones((200, 200))
        with ThreadPoolExecutor(4) as e: print(sum(float((a @ a)[0, 0]) for _ in e.map(lambda _: a @ a, range(8))))
        """, '1600.0\n'),
    ("sqlite3 with a write-ahead log and a second reader", """
        import sqlite3
        c = sqlite3.connect('x.db')
        print(c.execute('pragma journal_mode=wal').fetchone())
        c.execute('create table t (x)')
        c.commit()
        c.execute('insert into t values (1)')
        other = sqlite3.connect('x.db')
        print(other.execute('select count(*) from t').fetchone())
        c.commit()
        print(other.execute('select count(*) from t').fetchone())
        """, "('wal',)\n(0,)\n(1,)\n"),
    ("files and folders made by tempfile", """
        import os, tempfile
        fd, path = tempfile.mkstemp(suffix='.txt')
        os.write(fd, b'x'); os.close(fd)
        folder = tempfile.mkdtemp()
        print(os.path.getsize(path), os.listdir(folder), path.startswith(os.environ['TMPDIR']))
        """, '1 [] True\n'),
    ("the locale C.UTF-8", """
        import locale
        print(locale.setlocale(locale.LC_ALL, 'C.UTF-8'), locale.strcoll('a', 'b') < 0, locale.str(1.5))
        """, 'C.UTF-8 True 1.5\n'),
    ("threading", """
        import threading
        x = []
        t = [threading.Thread(target=x.append, args=(i,)) for i in range(30)]
        [i.start() for i in t]
        [i.join() for i in t]
        print(sorted(x) == list(range(30)))
        """, 'True\n'),
    ("threads in a pool", """
        from concurrent.futures import ThreadPoolExecutor as E
        with E(8) as e: print(sum(e.map(lambda i: i * i, range(100))))
        """, '328350\n'),
    ("asyncio", """
        import asyncio
        async def f(i):
            await asyncio.sleep(0.01)
            return i
        async def main(): return await asyncio.gather(*map(f, range(50)))
        print(sum(asyncio.run(main())))
        """, '1225\n'),
    ("asyncio with a subprocess", """
        import asyncio
        async def main():
            p = await asyncio.create_subprocess_exec('/bin/echo', 'child', stdout=-1)
            print((await p.communicate())[0])
        asyncio.run(main())
        """, "b'child\\n'\n"),
    ("subprocess", """
        import subprocess, sys
        print(subprocess.run('echo $((6 * 7)) | cat', shell=True, capture_output=True, text=True).stdout, end='')
        print(subprocess.check_output([sys.executable, '-c', 'print(1)']))
        """, "42\nb'1\\n'\n"),
    ("subprocess with a timeout", """
        import subprocess
        try: subprocess.run(['sleep', '60'], timeout=0.1)
        except subprocess.TimeoutExpired: print('timeout')
        """, 'timeout\n'),
    ("os.system", """
        import os
        print(os.system('exit 3') >> 8, os.popen('echo popen').read(), end='')
        """, '3 popen\n'),
    ("multiprocessing with pipes", """
        import multiprocessing as m
        def f(c): c.send(6 * 7)
        if __name__ == '__main__':
            a, b = m.Pipe()
            p = m.Process(target=f, args=(b,))
            p.start()
            print(a.recv())
            p.join()
            print(p.exitcode)
        """, '42\n0\n'),
    ("multiprocessing by spawn", """
        import multiprocessing as m
        def f(c): c.send(__name__)
        if __name__ == '__main__':
            m.set_start_method('spawn')
            a, b = m.Pipe()
            p = m.Process(target=f, args=(b,))
            p.start()
            print(a.recv())
            p.join()
        """, '__mp_main__\n'),
    ("sqlite3 in a file", """
        import sqlite3
        c = sqlite3.connect('x.db')
        c.execute('pragma journal_mode=delete')
        c.execute('create table t(a)')
        c.executemany('insert into t values (?)', [(i,) for i in range(100)])
        c.commit()
        print(sqlite3.connect('x.db').execute('select sum(a) from t').fetchone())
        """, '(4950,)\n'),
    ("sqlite3 in memory", """
        import sqlite3
        print(sqlite3.connect(':memory:').execute('select 1 + 1').fetchone())
        """, '(2,)\n'),
    ("tempfile", """
        import tempfile, os
        with tempfile.TemporaryFile() as f: f.write(b'x')
        with tempfile.NamedTemporaryFile() as f: print(os.path.exists(f.name))
        with tempfile.TemporaryDirectory() as d: open(d + '/f', 'w')
        print(len(tempfile.SpooledTemporaryFile(10).read()))
        """, 'True\n0\n'),
    ("mmap of a file", """
        import mmap
        f = open('m', 'w+b')
        f.truncate(8192)
        with mmap.mmap(f.fileno(), 0) as m: m[:5] = b'hello'
        print(open('m', 'rb').read(5))
        """, "b'hello'\n"),
    ("mmap shared with a child", """
        import mmap, os
        m = mmap.mmap(-1, 4096)
        if os.fork() == 0:
            m[0] = 7
            os._exit(0)
        os.wait()
        print(m[0])
        """, '7\n'),
    ("ctypes", """
        import ctypes, ctypes.util
        print(ctypes.CDLL(None).abs(-3), ctypes.util.find_library('c'))
        """, '3 libc.so.6\n'),
    ("ctypes callbacks", """
        import ctypes
        f = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)
        print(f(1))
        """, '2\n'),
    ("ssl", """
        import ssl
        c = ssl.create_default_context()
        print(c.verify_mode == ssl.CERT_REQUIRED, len(ssl.RAND_bytes(8)), ssl.OPENSSL_VERSION.split()[0])
        """, 'True 8 OpenSSL\n'),
    ("hashlib and secrets", """
        import hashlib, secrets
        print(hashlib.sha256(b'').hexdigest()[:8], len(secrets.token_hex(8)))
        print(len(hashlib.scrypt(b'x', salt=b'y', n=16, r=1, p=1)))
        """, 'e3b0c442 16\n64\n'),
    ("zoneinfo", """
        import datetime, zoneinfo
        print(datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin')).isoformat())
        """, '2024-07-01T00:00:00+02:00\n'),
    ("locale", """
        import locale
        print(locale.setlocale(locale.LC_ALL, ''), locale.getlocale()[1])
        """, 'C.UTF-8 UTF-8\n'),
    ("decimal, fractions, statistics", """
        import decimal, fractions, statistics
        print(decimal.Decimal('0.1') * 3, fractions.Fraction(1, 3) + 1, statistics.mean([1, 2, 3]))
        """, '0.3 4/3 2\n'),
    ("compression", """
        import bz2, gzip, io, lzma, zipfile, zlib
        d = b'x' * 10000
        print(all(m.decompress(m.compress(d)) == d for m in (bz2, gzip, lzma, zlib)))
        with zipfile.ZipFile('output/z.zip', 'w') as z: z.writestr('a', 'b')
        print(zipfile.ZipFile('output/z.zip').read('a'))
        """, "True\nb'b'\n"),
    ("xml and html", """
        import html.parser, xml.etree.ElementTree as E
        print(E.fromstring('<a><b>t</b></a>')[0].text)
        """, 't\n'),
    ("pty-free terminals", """
        import shutil
        print(shutil.get_terminal_size())
        """, 'os.terminal_size(columns=80, lines=24)\n'),
    ("signal timers", """
        import signal
        signal.signal(signal.SIGALRM, lambda *a: print('alarm'))
        signal.setitimer(0, 0.05)
        signal.pause()
        """, 'alarm\n'),
    ("select, poll and epoll", """
        import os, select
        r, w = os.pipe()
        os.write(w, b'x')
        e = select.epoll()
        e.register(r, 1)
        p = select.poll()
        p.register(r, 1)
        print(e.poll(1) == [(r, 1)], p.poll(1) == [(r, 1)], select.select([r], [], [], 1)[0] == [r])
        """, 'True True True\n'),
    ("unix socket pairs", """
        import socket
        a, b = socket.socketpair()
        a.send(b'x')
        print(b.recv(1))
        """, "b'x'\n"),
    ("descriptors over a socket", """
        import os, socket
        a, b = socket.socketpair()
        r, w = os.pipe()
        socket.send_fds(a, [b'x'], [w])
        fd = socket.recv_fds(b, 1, 1)[1][0]
        os.write(fd, b'y')
        print(os.read(r, 1))
        """, "b'y'\n"),
    ("file locks", """
        import fcntl
        f = open('l', 'w')
        fcntl.flock(f, fcntl.LOCK_EX)
        fcntl.lockf(f, fcntl.LOCK_EX)
        print('locked')
        """, 'locked\n'),
    ("facts about the machine", """
        import os, platform
        print(os.cpu_count() >= 1, len(os.sched_getaffinity(0)) >= 1)
        print(platform.system(), os.sysconf('SC_PAGESIZE'), bool(platform.machine()))
        """, 'True True\nLinux 4096 True\n'),
    ("the standard library's own source", """
        import inspect, json
        print('def loads' in inspect.getsource(json))
        """, 'True\n'),
    ("importing from a zip", """
        import sys, zipfile
        with zipfile.ZipFile('z.zip', 'w') as z: z.writestr('zipped.py', 'x = 5')
        sys.path.insert(0, 'z.zip')
        import zipped
        print(zipped.x)
        """, '5\n'),
    ("a module written by the script", """
        open('made.py', 'w').write('x = 6')
        import made
        print(made.x)
        """, '6\n'),
    ("sys.monitoring by settrace", """
        import sys
        n = []
        def t(f, e, a): n.append(e); return t
        def g(): return 1
        sys.settrace(t)
        g()
        sys.settrace(None)
        print(n[:2])
        """, "['call', 'line']\n"),
    ("deep recursion", """
        import sys, threading
        sys.setrecursionlimit(20000)
        def f(n): return n and 1 + f(n - 1)
        print(f(15000))
        """, '15000\n'),
]

# A loopback interface of the job's own needs a network namespace.
LOOPBACK = [
    ("a server and a client", """
        import socket, threading
        s = socket.create_server(('127.0.0.1', 0))
        threading.Thread(target=lambda: s.accept()[0].sendall(b'hello')).start()
        print(socket.create_connection(s.getsockname()).recv(5))
        """, "b'hello'\n"),
    ("asyncio's streams", """
        import asyncio, socket
        async def main():
            async def answer(reader, writer):
                writer.write((await reader.readline()).upper())
                await writer.drain()
                writer.close()
            async with await asyncio.start_server(answer, sock=socket.create_server(('127.0.0.1', 0))) as s:
                reader, writer = await asyncio.open_connection(*s.sockets[0].getsockname())
                writer.write(b'hello\\n')
                print(await reader.read())
                writer.close()
        asyncio.run(main())
        """, "b'HELLO\\n'\n"),
    ("http.server and urllib", """
        import http.server, threading, urllib.request
        s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
        s.RequestHandlerClass.log_message = lambda *a: None
        threading.Thread(target=s.serve_forever, daemon=True).start()
        open('page', 'w').write('served')
        print(urllib.request.urlopen(f'http://127.0.0.1:{s.server_port}/page').read())
        s.shutdown()
        """, "b'served'\n"),
]


class Libraries(ServiceTest):
    """A row a library."""

    def assert_rows(self, rows):
        for name, text, want in rows:
            with self.subTest(name):
                result = self.run_script(text, timeout_s=60)
                self.assertEqual((result["exit_code"], result["stdout"], result["stderr"]), (0, want, ""), result)

    def test_what_works_at_every_level(self):
        self.assert_rows(ROWS)

    def test_loopback_at_the_full_level(self):
        if not REDUCED:
            return self.assert_rows(LOOPBACK)
        for name, text, _ in LOOPBACK:
            with self.subTest(name):
                result = self.run_script(text, timeout_s=60)
                self.assertEqual(result["exit_code"], 1, result)
                self.assertIn("PermissionError", result["stderr"])

    def test_matplotlib_draws_a_png(self):
        result = self.run_script("""
            import matplotlib
            matplotlib.use('Agg')
            import matplotlib.pyplot as plt
            plt.plot([1, 4, 9], label='größe'); plt.legend(); plt.title('Ünïcode')
            plt.savefig('output/plot.png')
            """, timeout_s=120)
        self.assertEqual((result["exit_code"], result["stdout"]), (0, ""), result["stderr"])
        picture = result["artifacts"]["plot.png"]
        self.assertEqual(picture["encoding"], "base64")
        content = base64.b64decode(picture["content"])
        self.assertEqual(content[:8], b"\x89PNG\r\n\x1a\n")
        self.assertGreater(len(content), 5000)

    def test_matplotlib_chooses_a_backend_without_a_screen_by_itself(self):
        result = self.run_script("import matplotlib.pyplot as p; p.plot([1]); p.savefig('output/a.png'); "
                                 "print(p.get_backend().lower())", timeout_s=120)
        self.assertEqual((result["exit_code"], result["stdout"]), (0, "agg\n"), result["stderr"])


if __name__ == "__main__":
    main()
