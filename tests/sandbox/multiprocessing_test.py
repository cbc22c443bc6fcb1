"""Role: multiprocessing in each of its forms, as well-behaved scripts use it.
Callers: meson test, once a mode of starting the service.
"""
from contract import ServiceTest, main
from service import REDUCED

# name, script, output. At the reduced level shared memory and semaphores are in the job's own folder (own_shm.cc).
ROWS = [
    ("a pool", """
        import multiprocessing as m
        def f(x): return x * x
        if __name__ == '__main__':
            with m.Pool(3) as p: print(sum(p.map(f, range(100))))
        """, '328350\n'),
    ("a queue", """
        import multiprocessing as m
        def f(q): q.put('from the child')
        if __name__ == '__main__':
            q = m.Queue()
            p = m.Process(target=f, args=(q,))
            p.start()
            print(q.get())
            p.join()
        """, 'from the child\n'),
    ("a semaphore and a lock", """
        import multiprocessing as m
        s = m.Semaphore(2)
        s.acquire()
        l = m.Lock()
        with l: print('held')
        """, 'held\n'),
    ("a shared value", """
        import multiprocessing as m
        def f(v):
            with v.get_lock(): v.value += 1
        if __name__ == '__main__':
            v = m.Value('i', 0)
            p = [m.Process(target=f, args=(v,)) for _ in range(5)]
            [i.start() for i in p]
            [i.join() for i in p]
            print(v.value)
        """, '5\n'),
    ("SharedMemory", """
        from multiprocessing import shared_memory as s
        a = s.SharedMemory(create=True, size=100)
        a.buf[0] = 9
        b = s.SharedMemory(a.name)
        print(b.buf[0])
        b.close()
        a.close()
        a.unlink()
        """, '9\n'),
    ("processes in a pool", """
        from concurrent.futures import ProcessPoolExecutor as E
        def f(x): return x + 1
        if __name__ == '__main__':
            with E(2) as e: print(list(e.map(f, range(5))))
        """, '[1, 2, 3, 4, 5]\n'),
    ("a pool of interpreters started anew", """
        import multiprocessing as m
        def f(x): return x * x
        if __name__ == '__main__':
            with m.get_context('spawn').Pool(2) as p: print(sum(p.map(f, range(10))))
        """, '285\n'),
    ("an interpreter started anew that shares memory", """
        import multiprocessing as m
        from multiprocessing import shared_memory as s
        def f(name):
            theirs = s.SharedMemory(name)
            theirs.buf[1] = theirs.buf[0] + 1
            theirs.close()
        if __name__ == '__main__':
            ours = s.SharedMemory(create=True, size=100)
            ours.buf[0] = 8
            p = m.get_context('spawn').Process(target=f, args=(ours.name,))
            p.start(); p.join()
            print(ours.buf[1], p.exitcode)
            ours.close(); ours.unlink()
        """, '9 0\n'),
    ("an executor of interpreters started anew", """
        import multiprocessing as m
        from concurrent.futures import ProcessPoolExecutor as E
        def f(x): return x + 1
        if __name__ == '__main__':
            with E(2, mp_context=m.get_context('spawn')) as e: print(list(e.map(f, range(3))))
        """, '[1, 2, 3]\n'),
    ("numpy in the processes of a pool", """
        import multiprocessing as m, numpy as np
        def f(n): return float((np.ones((n, n)) @ np.ones((n, n))).sum())
        if __name__ == '__main__':
            with m.Pool(2) as p: print(p.map(f, [10, 100]))
        """, '[1000.0, 1000000.0]\n'),
]

# These wait on a Unix socket with a path, which at the reduced level would lead to the host's servers, too.
BY_SOCKET = [
    ("a manager", """
        import multiprocessing as m
        if __name__ == '__main__':
            with m.Manager() as x: print(x.dict(a=1).copy())
        """, "{'a': 1}\n"),
    ("multiprocessing by a fork server", """
        import multiprocessing as m
        def f(c): c.send(1)
        if __name__ == '__main__':
            m.set_start_method('forkserver')
            a, b = m.Pipe()
            p = m.Process(target=f, args=(b,))
            p.start()
            print(a.recv())
            p.join()
        """, '1\n'),
]

# A second process that knows nothing but a name finds the same, and whoever ends leaves it; names are the job's own.
BY_NAME = """
    import ctypes, os, sys
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sem_open.restype = ctypes.c_void_p
    O_CREAT, O_EXCL = os.O_CREAT, os.O_EXCL
    def opened(name, flags=0, value=0):
        s = libc.sem_open(name, flags, 0o600, value)
        return ctypes.c_void_p(s) if s else os.strerror(ctypes.get_errno())
    print(opened(b'/none'), opened(b'/a/b', O_CREAT), opened(b'/', O_CREAT), opened(b'/' + b'x' * 300, O_CREAT))
    s = opened(b'/one', O_CREAT | O_EXCL, 2)
    print(opened(b'/one', O_CREAT | O_EXCL))
    if os.fork() == 0:
        other = opened(b'/one', O_CREAT, 7)  # there already: the value is the first one's
        print(libc.sem_trywait(other), libc.sem_trywait(other), libc.sem_trywait(other), flush=True)
        libc.sem_close(other)
        os._exit(0)
    os.wait()
    print(libc.sem_trywait(s), libc.sem_post(s), libc.sem_trywait(s),
          libc.sem_unlink(b'/one'), libc.sem_unlink(b'/one'))
    fd = libc.shm_open(b'/m', os.O_CREAT | os.O_RDWR, 0o600)
    print(os.pwrite(fd, b'shared', 0), os.get_inheritable(fd), os.pread(libc.shm_open(b'/m', os.O_RDONLY, 0), 9, 0))
    print(libc.shm_unlink(b'/m'), libc.shm_open(b'/m', os.O_RDWR, 0))
    """


class Multiprocessing(ServiceTest):
    """A row a form."""

    def assert_works(self, rows):
        for name, text, want in rows:
            with self.subTest(name):
                result = self.run_script(text, timeout_s=60)
                self.assertEqual((result["exit_code"], result["stdout"], result["stderr"]), (0, want, ""), result)

    def test_each_form(self):
        self.assert_works(ROWS)

    def test_what_waits_on_a_socket(self):
        if not REDUCED:
            return self.assert_works(BY_SOCKET)
        for name, text, _ in BY_SOCKET:
            with self.subTest(name):  # an ordinary exception, which says so, and quickly
                result = self.run_script(text, timeout_s=60)
                self.assertEqual((result["exit_code"], result["stdout"]), (1, ""), result)
                self.assertIn("PermissionError: [Errno ", result["stderr"])

    def test_semaphores_and_memory_by_name(self):
        self.assertEqual(self.output_of(BY_NAME).splitlines(), [
            "No such file or directory Invalid argument Invalid argument Invalid argument", "File exists", "0 0 -1",
            "-1 0 0 0 -1", "6 False b'shared'", "0 -1"])

    def test_nothing_of_it_is_there_for_the_next_job(self):
        for _ in range(2 * self.workers):
            self.assertEqual(self.output_of("""
                import ctypes, os
                print(ctypes.CDLL(None).shm_open(b'/always-the-same', os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600) > 2)
                """), "True\n")


if __name__ == "__main__":
    main()
