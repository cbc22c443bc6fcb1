"""Role: multiprocessing in each of its forms, as well-behaved scripts use it.
Callers: meson test, once a mode of starting the service.
"""
from contract import ServiceTest, main
from service import REDUCED

# name, script, output. Shared memory and named semaphores need a /dev/shm of the job's own, which is a mount.
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
    ("a manager", """
        import multiprocessing as m
        if __name__ == '__main__':
            with m.Manager() as x: print(x.dict(a=1).copy())
        """, "{'a': 1}\n"),
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
    ("numpy in the processes of a pool", """
        import multiprocessing as m, numpy as np
        def f(n): return float((np.ones((n, n)) @ np.ones((n, n))).sum())
        if __name__ == '__main__':
            with m.Pool(2) as p: print(p.map(f, [10, 100]))
        """, '[1000.0, 1000000.0]\n'),
]


class Multiprocessing(ServiceTest):
    """A row a form."""

    def test_each_form(self):
        for name, text, want in ROWS:
            with self.subTest(name):
                result = self.run_script(text, timeout_s=60)
                if REDUCED:
                    # Shared with the whole machine there, so refused: an ordinary exception, which says so, and quickly.
                    self.assertEqual((result["exit_code"], result["stdout"]), (1, ""), result)
                    self.assertIn("PermissionError: [Errno ", result["stderr"])
                else:
                    self.assertEqual((result["exit_code"], result["stdout"], result["stderr"]), (0, want, ""), result)


if __name__ == "__main__":
    main()
