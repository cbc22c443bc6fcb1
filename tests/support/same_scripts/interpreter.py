"""Role: what a script finds in its interpreter: flags, modules, frames, signals, threads, hooks.
Callers: see __init__.py.
Law: see __init__.py.
"""

SCRIPTS = [
    ("sys.flags and options", "import sys\nprint(sys.flags, sys.warnoptions, sys._xoptions, sys.argv, sys.orig_argv)\n"),
    ("arguments", "import sys\nprint(sys.argv, sys.orig_argv)\n", {"args": ["-c", "--", "", "ä", "a b", "-X"]}),
    ("sys.path", "import sys\nprint(sys.path, sys.prefix, sys.exec_prefix, sys.base_prefix, sys.executable)\n"),
    ("the names in sys", "import sys\nprint(sorted(dir(sys)))\n"),
    ("the settings in sys", """
        import sys
        print(sys.getrecursionlimit(), sys.getswitchinterval(), sys.getdlopenflags(), sys.gettrace(), sys.getprofile())
        print(sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__)
        print(sys.unraisablehook is sys.__unraisablehook__, sys.breakpointhook is sys.__breakpointhook__)
        print(sys.get_asyncgen_hooks(), sys.get_coroutine_origin_tracking_depth(), sys.get_int_max_str_digits())
        print(sys.dont_write_bytecode, sys.pycache_prefix, sys.platlibdir, hasattr(sys, 'tracebacklimit'))
        print(sys.hash_info, sys.thread_info, sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())
        """),
    ("no exception is being handled", """
        import sys
        print(sys.exc_info(), [hasattr(sys, n) for n in ('last_type', 'last_value', 'last_traceback', 'ps1')])
        """),
    ("the names in builtins", "import builtins\nprint(sorted(dir(builtins)), exit, quit, copyright)\n"),
    ("the names in __main__", """
        print(sorted(globals()), __name__, __file__, __doc__, __package__, __spec__, __cached__, __annotations__)
        print(type(__loader__).__name__, __loader__.name, __loader__.path, __builtins__)
        """),
    ("a docstring and annotations of the module", "'what it does'\nx: int = 3\ny: 'str'\nprint(__doc__, __annotations__)\n"),
    ("__main__ is the script's module", """
        import sys, __main__
        print(__main__ is sys.modules['__main__'], __main__.__dict__ is globals(), vars(__main__)['sys'] is sys)
        print(sys.modules['builtins'] is __builtins__, __main__)
        """),
    ("nothing is below the first frame", """
        import inspect, sys, traceback
        def look():
            frame, names = sys._getframe(), []
            while frame:
                names.append((frame.f_code.co_name, frame.f_code.co_filename, frame.f_lineno))
                frame = frame.f_back
            print(names)
            print([(f.function, f.lineno, f.code_context, f.index) for f in inspect.stack()])
            traceback.print_stack()
        look()
        """),
    ("the depth of recursion", """
        def down(n):
            global deepest
            deepest = n
            down(n + 1)
        try: down(0)
        except RecursionError as error: print(deepest, error)
        """),
    ("the depth of recursion through C", """
        class Odd:
            def __repr__(self):
                global deepest
                deepest += 1
                return repr(self)
        deepest = 0
        try: repr(Odd())
        except RecursionError as error: print(deepest, error)
        """),
    ("inspect finds sources", """
        import inspect
        def documented(a, /, b: int = 2, *rest, c, **more) -> str:
            '''Says so.'''
            return 'x'
        class Thing:
            def method(self): pass
        print(inspect.getsource(documented), inspect.getsource(Thing.method), inspect.getsource(Thing))
        print(inspect.signature(documented), inspect.getdoc(documented), inspect.getfile(documented))
        print(inspect.getmodule(documented), inspect.getsourcelines(Thing), inspect.getsourcefile(Thing))
        """),
    ("pickle of what __main__ defines", """
        import pickle
        class Point:
            def __init__(self, x): self.x = x
        def double(x): return 2 * x
        data = pickle.dumps([Point(3), double, Point], 4)
        print(data, pickle.loads(data)[0].x, pickle.loads(data)[1] is double)
        try: pickle.dumps(lambda: 0)
        except Exception as error: print(type(error), error)
        """),
    ("dataclasses and type hints of __main__", """
        from __future__ import annotations
        import dataclasses, typing
        @dataclasses.dataclass(order=True, slots=True)
        class Row:
            name: str
            size: typing.ClassVar[int] = 3
            parts: list[Row] = dataclasses.field(default_factory=list)
        print(Row('a'), Row('a') < Row('b'), typing.get_type_hints(Row), Row.__module__, Row.__qualname__)
        print(dataclasses.asdict(Row('a', [Row('b')])), dataclasses.make_dataclass('Made', ['x'])(1))
        """),
    ("enum, namedtuple and abstract classes of __main__", """
        import abc, collections, enum
        class Color(enum.Enum):
            RED = enum.auto()
        Pair = collections.namedtuple('Pair', 'a b')
        class Base(abc.ABC):
            @abc.abstractmethod
            def go(self): ...
        print(Color.RED, repr(Color.RED), Color.RED.__class__.__module__, Pair(1, 2), Pair.__module__)
        try: Base()
        except TypeError as error: print(error)
        """),
    ("signals", """
        import signal
        print({s: signal.getsignal(s) for s in sorted(signal.valid_signals()) if s != signal.SIGINT})
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.sigpending(), signal.set_wakeup_fd(-1))
        print([signal.getitimer(i) for i in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)])
        """),
    ("signal handlers run", """
        import os, signal
        def handler(number, frame): print(signal.Signals(number).name, frame.f_code.co_name, frame.f_lineno)
        for s in (signal.SIGUSR1, signal.SIGTERM, signal.SIGALRM, signal.SIGRTMIN):
            signal.signal(s, handler)
            os.kill(os.getpid(), s)
        print(signal.sigtimedwait([signal.SIGUSR2], 0))
        """),
    ("a handler for the last real-time signal", """
        import os, signal
        signal.signal(signal.SIGRTMAX, lambda *_: print('mine'))
        os.kill(os.getpid(), signal.SIGRTMAX)
        """),
    ("threads", """
        import _thread, os, threading
        main = threading.main_thread()
        print(threading.enumerate() == [main], main.name, main.daemon, main.ident == _thread.get_ident())
        print(main.native_id == os.getpid(), _thread._count(), threading.stack_size(), main is threading.current_thread())
        print(threading.gettrace(), threading.getprofile(), threading.excepthook is threading.__excepthook__)
        print(threading.Thread().name, threading.Thread(target=print).name)
        """),
    ("the collector", """
        import gc
        print(gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.garbage, len(gc.callbacks))
        class Ring: pass
        ring = Ring(); ring.me = ring; del ring
        print(gc.collect() >= 1, gc.garbage)
        """),
    ("what refers to a module", """
        import gc, sys
        print([type(r).__name__ for r in gc.get_referrers(sys.modules['__main__']) if type(r) is not dict])
        print(gc.is_tracked(globals()), sys.getrefcount(sys.modules['__main__']))
        """),
    ("weak references", """
        import weakref
        class Thing: pass
        thing = Thing()
        ref = weakref.ref(thing, lambda r: print('gone', r() is None))
        table = weakref.WeakValueDictionary(a=thing)
        weakref.finalize(thing, print, 'finalized')
        print(ref() is thing, len(table), weakref.getweakrefcount(thing))
        del thing
        print(ref(), len(table))
        """),
    ("generators", """
        def steps():
            try:
                got = yield 1
                print('got', got)
                yield 2
            finally:
                print('closed')
        g = steps()
        print(next(g), g.send('x'), g.gi_frame.f_lineno)
        del g
        left = steps()
        next(left)
        """),
    ("context variables", """
        import contextvars
        print(len(contextvars.copy_context()), list(contextvars.copy_context()))
        v = contextvars.ContextVar('v', default=1)
        contextvars.Context().run(v.set, 2)
        print(v.get())
        """),
    ("asyncio", """
        import asyncio
        async def part(n):
            await asyncio.sleep(0)
            return n
        async def main():
            print(await asyncio.gather(*map(part, range(5))), asyncio.current_task().get_name())
            async with asyncio.timeout(5): await asyncio.sleep(0)
            print(await asyncio.to_thread(sum, [1, 2]))
        asyncio.run(main())
        try: asyncio.get_running_loop()
        except RuntimeError as error: print(error)
        """),
    ("asyncio without a loop", "import asyncio\nprint(asyncio.get_event_loop_policy()._local._loop)\n"),
    ("the locale", """
        import codecs, locale
        print(locale.setlocale(locale.LC_ALL), locale.getlocale(), locale.getencoding(), locale.getpreferredencoding())
        print(locale.localeconv()['decimal_point'], codecs.lookup('utf-8').name)
        """),
    ("the time zone", "import time\nprint(time.tzname, time.timezone, time.daylight)\n"),
    ("a time zone of the request's", "import time\nprint(time.tzname, time.timezone)\n", {"env": {"TZ": "Asia/Tokyo"}}),
    ("the decimal context", "import decimal\nprint(decimal.getcontext(), decimal.Decimal(1) / 3)\n"),
    ("site", """
        import site
        print(site.ENABLE_USER_SITE, site.USER_SITE, site.USER_BASE, site.PREFIXES, site.getsitepackages())
        """),
    ("debugging aids are off", """
        import faulthandler, tracemalloc, sys
        print(faulthandler.is_enabled(), tracemalloc.is_tracing(), sys.gettrace(), __debug__, sys.flags.dev_mode)
        """),
    ("a trace function sees the script alone", """
        import sys
        seen = []
        def trace(frame, event, arg):
            seen.append((frame.f_code.co_name, event, frame.f_lineno))
            return trace
        def work(n): return n + 1
        sys.settrace(trace); work(1); sys.settrace(None)
        print(seen)
        """),
    ("an audit hook sees the script alone", """
        import sys
        seen = []
        sys.addaudithook(lambda event, args: seen.append(event))
        open('x', 'w').close()
        exec(compile('1', 'f', 'eval'))
        print(seen)
        """),
    ("import of the script itself", """
        import sys
        print(__name__)
        if __name__ == '__main__':
            import script
            print(script.__file__, script is sys.modules['script'], script.__spec__.name, script.__spec__.origin)
        """),
    ("modules of the script's own", """
        import importlib, os, sys
        open('mine.py', 'w').write('print("imported", __name__, __file__)\\nvalue = 1\\n')
        importlib.invalidate_caches()
        import mine
        importlib.reload(mine)
        print(mine.__spec__.origin, mine.__cached__, os.listdir('__pycache__'), mine.value)
        del sys.modules['mine']
        print(importlib.import_module('mine') is mine, importlib.util.find_spec('none_such'))
        """),
    ("a module that hides one of the library", "import os\nopen('colorsys.py', 'w').write('x = 5')\nimport colorsys\nprint(colorsys.x)\n"),
    ("runpy and exec", """
        import runpy
        open('other.py', 'w').write('print(__name__, __file__, __spec__)\\nvalue = 7\\n')
        print(runpy.run_path('other.py')['value'], runpy.run_path('other.py', run_name='__main__')['value'])
        exec('print(__name__)')
        print(eval('__file__'))
        """),
    ("logging begins empty", """
        import logging
        print(logging.root, logging.root.handlers, logging.lastResort, logging.getLogger('mine').getEffectiveLevel())
        logging.warning('to standard error')
        logging.getLogger('mine').info('not shown')
        logging.basicConfig(level=logging.DEBUG, format='%(levelname)s %(name)s %(process)d'.replace('%(process)d', '%(module)s'))
        logging.getLogger('mine').info('shown')
        try: 1 / 0
        except ZeroDivisionError: logging.exception('with its traceback')
        """),
    ("warnings", """
        import warnings
        def old(): warnings.warn('old', DeprecationWarning, stacklevel=2)
        old(); old()
        warnings.warn('from here')
        for _ in range(2): warnings.warn('once only')
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            old(); old()
        print(len(caught), caught[0].filename, caught[0].lineno)
        warnings.simplefilter('error')
        warnings.warn('raised')
        """),
    ("the interactive helpers", "print(help, license, credits)\nhelp(abs)\n"),
    ("os.environ", "import os\nprint(sorted(os.environ.items()), os.getenv('NAME'))\n", {"env": {"NAME": "vä lue", "EMPTY": ""}}),
    ("platform", "import platform, sysconfig\nprint(platform.python_version(), platform.python_build(), sysconfig.get_paths())\n"),
    ("numpy finds nothing prepared", """
        import numpy as np
        print(np.geterr(), np.get_printoptions()['precision'], np.random.get_state()[2], np.arange(3) / 2)
        np.random.seed(5)
        print(np.random.rand(2), np.random.default_rng(5).random(2))
        """),
    ("pandas finds nothing prepared", """
        import pandas as pd
        print(pd.DataFrame({'a': [1, 2, 2], 'b': [.5, 1, 2]}).groupby('a').sum(), pd.get_option('display.max_rows'))
        """),
    ("random, seeded", "import random\nrandom.seed(4)\nprint(random.random(), random.sample(range(99), 5), random.Random(1).random())\n"),
    ("hashes, seeded", "print(hash('a'), hash(b'a'), set('abcdef'))\n", {"env": {"PYTHONHASHSEED": "7"}}),
    ("hashes that are the same everywhere", "print(hash(12), hash(1.5), hash((1, 2.5, None is None)), hash(2**70), hash(''))\n"),
]

# Each of these gets an interpreter of its own.
FLAGS = [
    {"PYTHONOPTIMIZE": "2"}, {"PYTHONDEVMODE": "1"}, {"PYTHONWARNINGS": "error,default::UserWarning"}, {"PYTHONSAFEPATH": "1"},
    {"PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "x"}, {"PYTHONPATH": "lib:/nowhere"}, {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONUNBUFFERED": ""}, {"PYTHONINTMAXSTRDIGITS": "700"}, {"PYTHONFAULTHANDLER": "1", "PYTHONTRACEMALLOC": "3"},
    {"LANG": "C", "LC_ALL": "POSIX"}, {"PYTHONCOERCECLOCALE": "0"}, {"PYTHONPYCACHEPREFIX": "cache"},
]
FLAGS_SCRIPT = """
    '''A docstring.'''
    import sys, os, locale, faulthandler, tracemalloc
    print(sys.flags, sys.warnoptions, sys.path, sys.argv, sys.orig_argv, __doc__, sys.pycache_prefix)
    print(sys.stdout.encoding, sys.stdout.write_through, sys.get_int_max_str_digits(), locale.setlocale(locale.LC_ALL))
    print(sorted(os.environ.items()), faulthandler.is_enabled(), tracemalloc.get_traceback_limit())
    open('unclosed', 'w')
    assert sys.flags.optimize, 'checked'
    """
SCRIPTS += [(f"env {' '.join(env)}", FLAGS_SCRIPT, {"env": env, "args": ["one"]}) for env in FLAGS]

# The template's imports show in these (README, "Warm runners"); fresh runners pass them.
FRESH_ONLY = [
    ("sys.modules", "import sys\nprint(sorted(sys.modules))\n"),
    ("how modules are found", "import os, sys\nprint(sys.meta_path, sys.path_hooks, sorted(p.replace(os.getcwd(), '') for p in sys.path_importer_cache))\n"),
    ("the filters of warnings", "import warnings\nprint(*warnings.filters, sep='\\n')\n"),
    ("all loggers", "import logging\nprint(sorted(logging.root.manager.loggerDict))\n"),
    ("what the collector leaves alone", "import gc\nprint(gc.get_freeze_count())\n"),
    ("extension modules that a crash lists", "import ctypes, faulthandler\nfaulthandler.enable()\nctypes.string_at(0)\n"),
    ("codecs", "import codecs, encodings\nprint(sorted(encodings._cache))\n"),
]
