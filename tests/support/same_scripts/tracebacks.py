"""Role: ways for a script to fail, whose tracebacks must come out to the letter.
Callers: see __init__.py.
Law: see __init__.py. exit_codes_test.py has the plainest ones.
"""

SCRIPTS = [
    ("carets below a long expression", """
        def f(a, b):
            return (a['x']['y'] +
                    b.c.d(1,
                          2)[3])
        class B:
            class c:
                def d(*_): return None
        f({'x': {'y': 1}}, B)
        """),
    ("carets below wide characters", "x = {'größe': None}\n世界 = x['größe']; print('ü' * 3 + 世界.größe('💥')[0])\n"),
    ("comprehensions, lambdas, class bodies", """
        f = lambda x: [1 / y for y in (z for z in range(x))]
        class Body:
            value = {k: f(k) for k in 'a b'.split() and [2]}
        """),
    ("through decorators and context managers", """
        import contextlib, functools
        @contextlib.contextmanager
        def block():
            try: yield
            finally: print('left')
        def deco(f):
            @functools.wraps(f)
            def inner(*a): return f(*a)
            return inner
        @deco
        @block()
        def go(x): return x.nothing
        go(1)
        """),
    ("out of __exit__", """
        class Block:
            def __enter__(self): return self
            def __exit__(self, kind, value, trace):
                raise KeyError('in exit', kind.__name__)
        with Block():
            1 / 0
        """),
    ("out of finally", "try:\n    try: 1 / 0\n    finally: [][3]\nexcept IndexError as e:\n    raise e from e.__context__\n"),
    ("a cause, a context and notes", """
        def a(): raise ValueError('a')
        def b():
            try: a()
            except ValueError as error:
                error.add_note('note of a\\nsecond line')
                raise TypeError('b') from error
        def c():
            try: b()
            except TypeError as error:
                error.add_note('note of b')
                raise LookupError('c')
        c()
        """),
    ("a chain that bites its tail", "a, b = ValueError('a'), ValueError('b')\na.__cause__ = b; b.__cause__ = a\nraise a\n"),
    ("an exception from None in a group", """
        def fail(n):
            try: raise KeyError(n)
            except KeyError: raise ValueError(n) from None
        errors = []
        for n in range(3):
            try: fail(n)
            except ValueError as e: errors.append(e)
        raise ExceptionGroup('all', errors)
        """),
    ("groups in groups, with causes and notes", """
        inner = ExceptionGroup('inner', [OSError(2, 'No such', 'f'), UnicodeError('u')])
        inner.add_note('of the inner one')
        try:
            raise inner
        except* OSError as group:
            raise BaseExceptionGroup('outer', [group, KeyboardInterrupt(), ExceptionGroup('deep', [inner])]) from inner
        """),
    ("a group too wide and too deep to show", """
        deep = ValueError('end')
        for n in range(14): deep = ExceptionGroup(f'level {n}', [deep])
        raise ExceptionGroup('wide', [deep] + [TypeError(n) for n in range(20)])
        """),
    ("except* lets the rest go", """
        try: raise ExceptionGroup('g', [ValueError(1), TypeError(2), KeyError(3)])
        except* ValueError as e: print(repr(e))
        except* KeyError: raise
        """),
    ("recursion, folded", "def f(n):\n    return f(n + 1) + 1\nf(0)\n"),
    ("recursion of two", "def even(n): return odd(n + 1)\ndef odd(n):\n    return even(n + 1)\neven(0)\n"),
    ("recursion in repr", "a = []\nclass R:\n    def __repr__(self): return f'{self!r}'\nprint(R())\n"),
    ("suggestions", """
        class Thing: colour = 1
        def one(): Thing.color
        def two(): prnt(1)
        def three(): from os import pth
        def four():
            import colections
        for f in (one, two, three):
            try: f()
            except Exception as error: print(error, error.name)
        import traceback
        for f in (one, two, three, four):
            try: f()
            except Exception: traceback.print_exc()
        Thing().colr
        """),
    ("code without a file", "exec(compile('def f():\\n    1 / 0\\nf()', '<made up>', 'exec'))\n"),
    ("code of exec", "code = 'x = 1\\ny = x / 0\\n'\nexec(code)\n"),
    ("code that names another file", "open('shown.txt', 'w').write('line one\\nline two\\n')\nexec(compile('\\n1 / 0', 'shown.txt', 'exec'))\n"),
    ("a script that rewrites itself", "open('script.py', 'w').write('# changed\\n# indeed\\n')\n1 / 0\n"),
    ("a script that removes itself", "import os\nos.remove('script.py')\n1 / 0\n"),
    ("after a change of directory", "import os\nos.chdir('/')\n1 / 0\n"),
    ("sys.tracebacklimit", "import sys\nsys.tracebacklimit = 1\ndef f(): g()\ndef g(): 1 / 0\nf()\n"),
    ("the traceback module", """
        import sys, traceback
        def f(x): return g(x) + 1
        def g(x): return {}[x]
        try: f('k')
        except KeyError as error:
            traceback.print_exc()
            print(traceback.format_exception(error))
            print(traceback.format_exc(limit=-1), traceback.extract_tb(error.__traceback__))
            for frame in traceback.TracebackException.from_exception(error, capture_locals=True).format(): print(frame)
            print(sys.exc_info()[1] is error)
        print(traceback.format_stack(), traceback.extract_stack()[0].name)
        """),
    ("at the import of a module of its own", """
        open('broken.py', 'w').write('import json\\n\\ndef f():\\n    json.loads("[1,")\\nf()\\n')
        import broken
        """),
    ("a syntax error in a module of its own", "open('bad.py', 'w').write('x = 1\\nif x = 2:\\n    pass\\n')\nimport bad\n"),
    ("modules that import each other", """
        open('one.py', 'w').write('from two import b\\na = 1\\n')
        open('two.py', 'w').write('from one import a\\nb = 1\\n')
        import one
        """),
    ("a package without the name", "import os\nos.mkdir('pack')\nopen('pack/__init__.py', 'w')\nfrom pack import missing\n"),
    ("a relative import", "from . import sibling\n"),
    ("in a thread, with a cause", """
        import threading
        def work():
            try: {}['k']
            except KeyError as error: raise RuntimeError('thread') from error
        t = threading.Thread(target=work, name='its-name'); t.start(); t.join()
        raise ValueError('main, too')
        """),
    ("in a thread that nobody joins", "import threading\nthreading.Thread(target=lambda: [].pop(), name='n').start()\n"),
    ("a hook for threads", """
        import threading
        def hook(args): print(args.exc_type.__name__, args.exc_value, args.thread.name)
        threading.excepthook = hook
        t = threading.Thread(target=int, args=('x',), name='n'); t.start(); t.join()
        """),
    ("in a pool of threads", """
        from concurrent.futures import ThreadPoolExecutor
        def work(n): return 1 / n
        with ThreadPoolExecutor(1) as pool: print(list(pool.map(work, [1, 0, 2])))
        """),
    ("in a task", """
        import asyncio
        async def fail(): raise ValueError('in the task')
        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(fail()); group.create_task(asyncio.sleep(10))
        asyncio.run(main())
        """),
    ("in a task that nobody awaits", """
        import asyncio
        async def fail(): raise ValueError('lost')
        async def main():
            task = asyncio.create_task(fail(), name='its-name')
            await asyncio.sleep(0)
            del task
        asyncio.run(main())
        """),
    ("in destructors and callbacks", """
        import gc, weakref
        class Thing:
            def __del__(self): raise ValueError('in __del__')
        Thing()
        thing = Thing()
        ref = weakref.ref(thing, lambda r: 1 / 0)
        del thing
        ring = Thing(); ring.me = ring; del ring
        gc.collect()
        """),
    ("in a hook for what can not be raised", """
        import sys
        def hook(args): print(args.exc_type, args.exc_value, args.err_msg); raise KeyError('in the hook')
        sys.unraisablehook = hook
        class Thing:
            def __del__(self): 1 / 0
        Thing()
        """),
    ("in a generator that is closed", """
        def g():
            try: yield 1
            finally: raise ValueError('while closing')
        x = g(); next(x); del x
        y = g(); next(y); y.close()
        """),
    ("StopIteration in a generator", "def g():\n    yield next(iter([]))\nlist(g())\n"),
    ("in a signal handler", """
        import signal
        def handler(*_): raise TimeoutError('handled')
        signal.signal(signal.SIGUSR1, handler)
        def f():
            signal.raise_signal(signal.SIGUSR1)
            while True: pass
        f()
        """),
    ("in __set_name__ and __init_subclass__", """
        class D:
            def __set_name__(self, owner, name): raise ValueError(name)
        try:
            class A: d = D()
        except Exception as error: print(repr(error), repr(error.__cause__))
        class B:
            def __init_subclass__(cls): 1 / 0
        class C(B): pass
        """),
    ("in callbacks of C code", "import functools\nfunctools.reduce(lambda a, b: sorted([a, b], key=lambda v: 1 / v), [1, 0, 2])\n"),
    ("in a callback of ctypes", """
        import ctypes
        @ctypes.CFUNCTYPE(ctypes.c_int)
        def back(): raise ValueError('in the callback')
        print(back())
        """),
    ("several atexit functions that fail", """
        import atexit
        def fail(n): raise ValueError(n)
        for n in range(3): atexit.register(fail, n)
        1 / 0
        """),
    ("a message that spans lines", "raise ValueError('first\\n  second\\n\\tthird\\n')\n"),
    ("a message of another type", "class E(Exception):\n    def __str__(self): return 5\nraise E\n"),
    ("a class in a function", "def f():\n    class Local(Exception): pass\n    raise Local('x')\nf()\n"),
    ("a class that names another module", "class E(Exception): __module__ = 'far.away'\nraise E('x')\n"),
    ("old ways to raise", "raise 'text'\n"),
    ("errors of the system", "open('/none/such', 'w')\n"),
    ("errors with a file and a number", "import os\nos.rename('none', 'such')\n"),
    ("an assertion", "x = [1]\nassert x == [2], f'{x} is wrong'\n"),
    ("decoding", "b'abc\\xff'.decode()\n"),
    ("KeyboardInterrupt in a function", "def f():\n    raise KeyboardInterrupt('stop')\nf()\n"),
    ("an exception without a traceback to show", "e = ValueError('x')\nraise e.with_traceback(None)\n"),
    ("an exception raised twice", "e = ValueError('same')\ndef f(): raise e\ntry: f()\nexcept ValueError: pass\nf()\n"),
    ("faulthandler's own words", """
        import faulthandler, sys
        def f(): faulthandler.dump_traceback(all_threads=True)
        f()
        """),
    ("a late syntax error", "print('not printed')\nprint('x'\nprint('y')\n"),
]

SYNTAX = ["f'{x!y}'", "x = (1, 2]", "'''open", "return 1", "def f(a, a): pass", "x = “quoted”", "(" * 250]
SCRIPTS += [(f"syntax error in {line!r}"[:60], f"import sys\nprint('never')\n{line}\n") for line in SYNTAX]

MORE = ["print('a", "await x", "nonlocal x", "x = $", "f(a=1, 2)", "if x:\npass", "if 1:\n    a\n  b", "1 = x", "f() = 1", "(x := 1) = 2", "for in x: pass", "x = 08",
          "lambda: (yield)\nbreak", "def f():\n global x\n x = 1\n nonlocal y", "print 'a'", "else: pass", "b'ü'",
          "a b", "{1: 2, 3}", "import a.b as", "from __future__ import nothing", "x = 1\nfrom __future__ import annotations",
          "async def f(): [await x for x in (yield)]", "'\\N{no such name}'", "try: pass", "class A\n  pass", "del f()", "\\ x",
          "match x:\n  case {**rest, 'a': 1}: pass", "x: int: str", "f'{'", "None = 1", "with open(x) as f, : pass"]
SCRIPTS += [("syntax errors of other kinds", f'''
    import traceback
    for line in {MORE!r}:
        try: compile(line, 'script.py', 'exec')
        except SyntaxError: traceback.print_exc(limit=0)
    ''')]
