"""Role: exit codes and what goes with them, row by row; the interpreter itself is the yardstick.
Callers: meson test, once a mode of starting the service.
"""
from bare_python import run_bare, without_places
from contract import ServiceTest, main, script

# Each script must end as `python3 script.py` ends it: same code, same output, same traceback to the letter.
SAME_AS_BARE = [
    ("nothing at all", "pass"),
    ("an empty file", ""),
    ("sys.exit()", "import sys; sys.exit()"),
    ("sys.exit(0)", "import sys; sys.exit(0)"),
    ("sys.exit(1)", "import sys; sys.exit(1)"),
    ("sys.exit(2)", "import sys; sys.exit(2)"),
    ("sys.exit(124) is no timeout", "import sys; sys.exit(124)"),
    ("sys.exit(137) is no memory", "import sys; sys.exit(137)"),
    ("sys.exit(255)", "import sys; sys.exit(255)"),
    ("sys.exit(256) wraps", "import sys; sys.exit(256)"),
    ("sys.exit(-1) wraps", "import sys; sys.exit(-1)"),
    ("sys.exit(-300) wraps", "import sys; sys.exit(-300)"),
    ("sys.exit(2**31)", "import sys; sys.exit(2**31)"),
    ("sys.exit(2**31 + 7)", "import sys; sys.exit(2**31 + 7)"),
    ("sys.exit(2**70) overflows", "import sys; sys.exit(2**70)"),
    ("sys.exit(True)", "import sys; sys.exit(True)"),
    ("sys.exit(False)", "import sys; sys.exit(False)"),
    ("sys.exit(None)", "import sys; sys.exit(None)"),
    ("sys.exit of a text prints it", "import sys; sys.exit('bad luck')"),
    ("sys.exit of a text beyond ASCII", "import sys; sys.exit('Pech gehabt: ü 🎉')"),
    ("sys.exit of a lone surrogate", "import sys; sys.exit('\\ud800')"),
    ("sys.exit of a float", "import sys; sys.exit(1.5)"),
    ("sys.exit of a tuple", "import sys; sys.exit((1, 2))"),
    ("sys.exit of a list", "import sys; sys.exit([])"),
    ("sys.exit of bytes", "import sys; sys.exit(b'x')"),
    ("sys.exit of what can not be printed", """
        import sys
        class Bad:
            def __str__(self): raise ValueError('no text')
        sys.exit(Bad())
        """),
    ("SystemExit without a call", "raise SystemExit"),
    ("SystemExit of two values", "raise SystemExit(3, 4)"),
    ("SystemExit with its code changed", "e = SystemExit(1); e.code = 9; raise e"),
    ("a subclass of SystemExit", "class Out(SystemExit): pass\nraise Out(6)"),
    ("exit() and quit()", "exit(3)"),
    ("quit with a text", "quit('bye')"),
    ("os._exit skips everything", """
        import atexit, os
        atexit.register(print, 'never')
        print('before', flush=True)
        os._exit(7)
        """),
    ("os._exit(0)", "import os; os._exit(0)"),
    ("sys.exit after output without a newline", "import sys; print('half', end=''); sys.exit(4)"),
    ("sys.exit in a thread ends the thread only", """
        import sys, threading
        t = threading.Thread(target=sys.exit, args=(5,)); t.start(); t.join()
        print('main goes on')
        """),
    ("sys.exit inside try/finally", """
        import sys
        try: sys.exit(8)
        finally: print('finally')
        """),
    ("an uncaught exception", "def f(x):\n    return 1 / x\n\nprint('before')\nf(0)\n"),
    ("an exception with a long message", "raise ValueError('x' * 5000)"),
    ("an exception beyond ASCII", "raise ValueError('größer als 世界')"),
    ("an exception with a lone surrogate", "raise ValueError('\\udc80')"),
    ("an exception without a message", "raise KeyError"),
    ("an exception class of the script's", "class Odd(Exception): pass\nraise Odd('a', 1)"),
    ("a nested exception class", "class A:\n    class B(Exception): pass\nraise A.B('x')"),
    ("a chained exception", """
        try:
            int('x')
        except ValueError as error:
            raise RuntimeError('second') from error
        """),
    ("an exception while handling another", """
        try:
            {}['k']
        except KeyError:
            undefined_name
        """),
    ("a suppressed context", """
        try: 1/0
        except ZeroDivisionError: raise KeyError('only this') from None
        """),
    ("an exception with notes", "e = TypeError('t'); e.add_note('first note'); e.add_note('second'); raise e"),
    ("an exception group", "raise ExceptionGroup('several', [ValueError(1), ExceptionGroup('in', [KeyError('k')])])"),
    ("an exception from C code", "import json\njson.loads('{')"),
    ("an exception that can not be printed", """
        class Bad(Exception):
            def __str__(self): raise RuntimeError('nope')
        raise Bad()
        """),
    ("a recursion without end", "def f(n): return f(n + 1)\nf(0)"),
    ("a syntax error", "print('never')\nif True\n    pass\n"),
    ("an indentation error", "def f():\nreturn 1\n"),
    ("a tab error", "if 1:\n\tx = 1\n        y = 2\n"),
    ("an unclosed bracket", "print((1,\n"),
    ("a NUL in the source", "print(1)\n\0\n"),
    ("an unknown encoding declared", "# -*- coding: no-such-thing -*-\nprint(1)\n"),
    ("a module that is not there", "import no_such_module_at_all"),
    ("a lone surrogate printed", "print('\\ud800')"),
    ("an exception in a thread", """
        import threading
        def work(): raise ValueError('in the thread')
        t = threading.Thread(target=work, name='worker-thread'); t.start(); t.join()
        print('fine')
        """),
    ("an exception in a destructor", """
        class Loud:
            def __del__(self): raise ValueError('in the destructor')
        x = Loud()
        del x
        print('fine')
        """),
    ("destructors run at the end", """
        class Loud:
            def __del__(self): print('gone')
        keep = Loud()
        """),
    ("a destructor in a cycle runs at the end", """
        class Loud:
            def __del__(self): print('gone', flush=True)
        a = Loud(); a.me = a
        """),
    ("atexit runs in reverse order", """
        import atexit
        for i in range(3): atexit.register(print, i)
        print('main')
        """),
    ("an exception in atexit", "import atexit\natexit.register(lambda: 1/0)\n"),
    ("sys.exit in atexit", "import atexit, sys\natexit.register(lambda: sys.exit(9))\n"),
    ("atexit after an exception", "import atexit\natexit.register(print, 'cleaned')\n1/0\n"),
    ("threads are waited for", """
        import threading, time
        def work():
            time.sleep(0.2)
            print('thread done')
        threading.Thread(target=work).start()
        print('main done')
        """),
    ("daemon threads are not", """
        import threading, time
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        print('main done')
        """),
    ("a file left open is flushed", """
        import atexit
        f = open('left.txt', 'w'); f.write('text')
        def look(): print(repr(open('left.txt').read()))
        atexit.register(look)
        atexit.register(f.flush)
        """),
    ("an excepthook of the script's", """
        import sys
        sys.excepthook = lambda kind, value, trace: print('hook', kind.__name__, value)
        raise ValueError('v')
        """),
    ("an excepthook that fails", """
        import sys
        def hook(kind, value, trace): raise RuntimeError('in the hook')
        sys.excepthook = hook
        raise ValueError('v')
        """),
    ("an excepthook that exits", "import sys\nsys.excepthook = lambda *a: sys.exit(12)\nraise ValueError('v')"),
    ("no excepthook at all", "import sys\ndel sys.excepthook\nraise ValueError('v')"),
    ("stderr set to None", "import sys\nsys.stderr = None\nraise ValueError('v')"),
    ("stdout closed", "import sys\nsys.stdout.close()\n"),
    ("printing to a closed stdout", "import sys\nsys.stdout.close()\nprint('x')\n"),
    ("descriptor 1 closed", "import os\nprint('a')\nos.close(1)\n"),
    ("a warning shows its source line", "import warnings\nwarnings.warn('careful')\n"),
    ("a deprecation in the main module is shown", "import warnings\nwarnings.warn('old', DeprecationWarning)\n"),
    ("a syntax warning", "x = 1\nprint(x is 1)\n"),
    ("a resource left unclosed says nothing", "open('x', 'w')\n"),
    ("a coroutine never awaited", "async def f(): pass\nf()\n"),
    ("KeyboardInterrupt ends by SIGINT", "raise KeyboardInterrupt"),
    ("ended by SIGINT", "import signal; signal.raise_signal(signal.SIGINT)"),
    ("ended by SIGTERM", "import os, signal; print('x'); os.kill(os.getpid(), signal.SIGTERM)"),
    ("ended by SIGKILL is no memory", "import os, signal; print('x'); os.kill(os.getpid(), signal.SIGKILL)"),
    ("ended by SIGHUP", "import os, signal; os.kill(os.getpid(), signal.SIGHUP)"),
    ("ended by SIGUSR1", "import os, signal; os.kill(os.getpid(), signal.SIGUSR1)"),
    ("ended by SIGALRM", "import signal, time; signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(60)"),
    ("ended by SIGSEGV", "import ctypes; print('x'); ctypes.string_at(0)"),
    ("ended by SIGABRT", "import os; os.abort()"),
    ("ended by SIGFPE", "import os, signal; os.kill(os.getpid(), signal.SIGFPE)"),
    ("ended by SIGBUS", "import os, signal; os.kill(os.getpid(), signal.SIGBUS)"),
    ("ended by SIGILL", "import os, signal; os.kill(os.getpid(), signal.SIGILL)"),
    ("ended by a real-time signal", "import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 2)"),
    ("SIGPIPE is ignored by Python", "import os, signal; os.kill(os.getpid(), signal.SIGPIPE); print('alive')"),
    ("SIGCHLD and SIGWINCH are ignored", """
        import os, signal
        for s in (signal.SIGCHLD, signal.SIGWINCH, signal.SIGURG, signal.SIGCONT): os.kill(os.getpid(), s)
        print('alive')
        """),
    ("a handler that exits", """
        import os, signal, sys
        signal.signal(signal.SIGTERM, lambda *a: sys.exit(33))
        os.kill(os.getpid(), signal.SIGTERM)
        """),
    ("a broken pipe of the script's own", """
        import os
        r, w = os.pipe(); os.close(r)
        os.write(w, b'x')
        """),
    ("exec into another program keeps its code", "import os; os.execv('/bin/sh', ['sh', '-c', 'echo sh; exit 41'])"),
    ("a child's code is the child's", """
        import subprocess, sys
        print(subprocess.run([sys.executable, '-c', 'raise SystemExit(5)']).returncode)
        """),
    ("signal dispositions and mask are untouched", """
        import signal
        print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        print([(s.name, str(signal.getsignal(s))) for s in sorted(signal.valid_signals() & set(signal.Signals))])
        """),
    ("what the main module is made of", """
        import sys
        print(sorted(globals()), __name__, __doc__, __package__, __spec__, __file__, type(__loader__).__name__)
        print(sys.argv, sys.path[0], sys.modules['__main__'].__dict__ is globals())
        """),
    ("flags of the interpreter", """
        import sys
        print(sys.flags, sys.dont_write_bytecode, sys.getrecursionlimit(), sys.getswitchinterval())
        print(sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors, sys.stdin.encoding, sys.stdin.errors)
        print(sys.stdout.line_buffering, sys.stdout.write_through, sys.getfilesystemencoding())
        print(sys.stdout.name, sys.stderr.name, sys.stdin.name, sys.stdout.mode, sys.stdin.mode)
        """),
    ("the search path and hooks", """
        import sys
        # six, which pandas imports, leaves a finder that a warm runner has from the start.
        finders = [finder for finder in sys.meta_path if "six" not in repr(finder)]
        print(__file__, sys.path, finders, len(sys.path_hooks), sys.gettrace(), sys.getprofile(), sys.excepthook)
        """),
    ("a stream that can not be flushed at the end", """
        import sys
        sys.stdout = open('/dev/full', 'w')
        print('lost')
        """),
    ("a destructor at the end finds its module as it was", """
        import json
        def helper(): return __name__
        class Late:
            def __del__(self): print(json.dumps([helper()]))
        late = Late()
        """),
    ("descriptors closed in bulk", "import os; os.closerange(3, 4096); print('ok')"),
    ("the names of the main module", "print(list(globals()), __spec__, __builtins__.__name__)"),
    ("the garbage collector", "import gc; print(gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.callbacks)"),
    ("inspect.getsource", "import inspect\ndef f():\n    return 1  # one\nprint(inspect.getsource(f))"),
    ("pickle of a class of the main module", """
        import pickle
        class P:
            def __init__(self): self.x = 1
        print(pickle.dumps(P()), pickle.loads(pickle.dumps(P())).x)
        """),
    ("the stack has no frames but the script's", """
        import sys, traceback
        def f(): traceback.print_stack(file=sys.stdout)
        f()
        print(sys._getframe().f_back)
        """),
    ("no thread but the main one", "import threading; print(threading.enumerate()[0].name, threading.active_count())"),
]


class EndsLikePython(ServiceTest):
    """Whatever way a script ends, the answer is what `python3 script.py` would have said."""

    def test_each_way_to_end_is_the_interpreter_s_own(self):
        for name, text in SAME_AS_BARE:
            with self.subTest(name):
                self.assertEqual(without_places(self.run_script(text)), run_bare({"script": script(text)}))

    def test_threads_that_end_while_the_script_does_disturb_nothing(self):
        """The interpreter does not wait for daemon threads, and asyncio has one for each subprocess."""
        for _ in range(30):
            result = self.run_script("""
                import threading, time
                for _ in range(3):
                    threading.Thread(target=time.sleep, args=(0.002,), daemon=True).start()
                time.sleep(0.0015)
                """)
            self.assertEqual((result["exit_code"], result["stderr"]), (0, ""))

    def test_the_end_by_a_signal_is_128_and_its_number(self):
        for number in (1, 2, 4, 6, 8, 9, 11, 15, 31, 34, 64):
            with self.subTest(number):
                result = self.run_script(f"""
                    import os, signal
                    if {number} != 9: signal.signal({number}, signal.SIG_DFL)
                    os.kill(os.getpid(), {number})
                    """)
                self.assertEqual((result["exit_code"], result["stderr"]), (128 + number, ""))


class Timeouts(ServiceTest):
    """124: what was written before is returned, artifacts included, and where the script was."""

    MARK = "\n[Error: Script timed out]"

    def timed_out(self, text, **fields):
        result = self.run_script(text, timeout_s=1, **fields)
        self.assertEqual(result["exit_code"], 124, result)
        self.assertTrue(result["stderr"].endswith(self.MARK), result["stderr"])
        self.assertEqual(result["stderr"].count(self.MARK), 1)
        return result

    def test_output_and_artifacts_of_before_are_kept(self):
        result = self.timed_out("""
            import sys
            print('out'); print('err', file=sys.stderr)
            open('output/done.txt', 'w').write('kept')
            half = open('output/half.txt', 'w'); half.write('flushed'); half.flush()
            while True: pass
            """)
        self.assertEqual(result["stdout"], "out\n")
        self.assertTrue(result["stderr"].startswith("err\n"))
        self.assertEqual(result["artifacts"], {"done.txt": "kept", "half.txt": "flushed"})

    def test_the_stack_says_where_the_script_was(self):
        result = self.timed_out("def inner():\n    while True:\n        pass\n\ndef outer():\n    inner()\n\nouter()\n")
        self.assertRegex(result["stderr"], r'script\.py", line [23] in inner')
        self.assertRegex(result["stderr"], r'script\.py", line 6 in outer')
        self.assertRegex(result["stderr"], r'script\.py", line 8 in <module>')

    def test_whatever_the_script_does_against_it(self):
        rows = [("sleeping", "import time; time.sleep(60)"),
                ("ignoring every signal", """
                    import signal, time
                    for s in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                        signal.signal(s, signal.SIG_IGN)
                    while True: time.sleep(1)
                    """),
                ("blocking every signal", """
                    import signal, time
                    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                    while True: time.sleep(1)
                    """),
                ("catching everything", """
                    while True:
                        try:
                            while True: pass
                        except BaseException: pass
                    """),
                ("inside C code", "sum(range(10**12))"),
                ("waiting for input of its own", "import os; r, w = os.pipe(); os.read(r, 1)"),
                ("waiting for a child", """
                    import subprocess, sys
                    subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])
                    """),
                ("joining a thread", """
                    import threading, time
                    threading.Thread(target=time.sleep, args=(60,)).start()
                    """),
                ("in atexit", "import atexit, time; atexit.register(time.sleep, 60)"),
                ("with the streams closed", "import os, time; os.close(0); os.close(1); os.close(2); time.sleep(60)"),
                ("stopped by itself", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"),
                ("replaced by another program", "import os; os.execv('/bin/sleep', ['sleep', '60'])")]
        for name, text in rows:
            with self.subTest(name):
                self.timed_out(text)

    def test_a_flood_of_output_does_not_delay_the_end(self):
        result = self.run_script("import sys\nwhile True: sys.stdout.write('x' * 65536)", timeout_s=1)
        self.assertEqual(result["exit_code"], 124)
        self.assertIn(self.MARK, result["stderr"])

    def test_a_child_outliving_the_script_does_not_delay_the_answer(self):
        result = self.run_script("""
            import subprocess, sys
            subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])
            print('script done')
            """, timeout_s=20)
        self.assertEqual((result["exit_code"], result["stdout"]), (0, "script done\n"))


class OutOfMemory(ServiceTest):
    """137, with what was written before."""

    arguments = ["--memory=192M"]

    def test_touching_more_than_the_limit_ends_the_run(self):
        result = self.run_script("""
            print('before')
            open('output/a.txt', 'w').write('kept')
            held = []
            while True: held.append(b'x' * (1 << 20))
            """, timeout_s=60)
        self.assertEqual((result["exit_code"], result["stdout"]), (137, "before\n"), result["stderr"][-500:])
        self.assertTrue(result["stderr"].endswith("\n[Error: Out of memory]"), result["stderr"][-500:])
        self.assertEqual(result["artifacts"], {"a.txt": "kept"})

    def test_an_absurd_request_is_an_ordinary_memory_error(self):
        result = self.run_script("try: bytearray(1 << 60)\nexcept MemoryError: print('caught')")
        self.assertEqual((result["exit_code"], result["stdout"]), (0, "caught\n"))
        result = self.run_script("bytearray(1 << 60)")
        # Where a limit on address space stands in for the cgroup, an uncaught MemoryError is that limit's.
        wall = "address-space" in self.service.health()["sandbox"]["layers"]["memory"]["detail"]
        self.assertEqual(result["exit_code"], 137 if wall else 1)
        self.assertIn("MemoryError\n", result["stderr"])

    def test_the_next_run_has_all_its_memory(self):
        self.run_script("x = b'x' * (400 << 20)")
        self.assertEqual(self.output_of("x = b'x' * (64 << 20); print(len(x))"), f"{64 << 20}\n")


if __name__ == "__main__":
    main()
