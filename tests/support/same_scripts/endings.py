"""Role: what happens at a script's end: flushes, destructors, atexit, threads, exit codes.
Callers: see __init__.py.
Law: see __init__.py.
"""

LOUD = """
class Loud:
    def __init__(self, name): self.name = name
    def __del__(self): print('gone', self.name)
"""

SCRIPTS = [
    ("files left open, wherever they hang", """
        import builtins, collections, functools, json
        def text(name):
            file = open('output/' + name, 'w'); file.write(name); return file
        plain = text('plain')
        _private = text('private')
        table = {'in': [text('table')]}
        ring = [text('ring')]; ring.append(ring)
        def closure(file):
            return lambda: file
        held = closure(text('closure'))
        class Holder: file = text('class')
        builtins.kept = text('builtins')
        json.kept = text('module')
        partial = functools.partial(print, text('partial'))
        def generator():
            with text('generator') as file: yield file
        suspended = generator(); next(suspended)
        """),
    ("files left open when it fails", "f = open('output/f', 'w'); f.write('text')\ndef g():\n    local = open('output/l', 'w'); local.write('text'); 1 / 0\ng()\n"),
    ("files left open when it exits", "import sys\nf = open('output/f', 'w'); f.write('text'); sys.exit(3)\n"),
    ("files left open by os._exit", "import os\nf = open('output/f', 'w'); f.write('text'); os._exit(3)\n"),
    ("files of other kinds left open", """
        import csv, gzip, io, logging, lzma, tempfile, zipfile
        z = gzip.GzipFile('output/z.gz', 'w', mtime=0); z.write(b'zipped')
        rows = csv.writer(open('output/rows.csv', 'w')); rows.writerow([1, 'a'])
        logging.basicConfig(filename='output/log', format='%(message)s'); logging.error('logged')
        raw = open('output/raw', 'wb', buffering=0); raw.write(b'raw')
        both = open('output/both', 'w+b'); both.write(b'both')
        t = tempfile.NamedTemporaryFile(dir='output', prefix='temp'); t.write(b'x')
        d = tempfile.TemporaryDirectory(dir='output')
        """),
    ("a database left open", """
        import sqlite3
        c = sqlite3.connect('output/d.db'); c.execute('create table t (x)'); c.commit(); c.execute('insert into t values (1)')
        print(sqlite3.connect('output/d.db').execute('select count(*) from t').fetchall())
        """),
    ("memory maps and shelves", """
        import dbm.dumb, mmap, shelve
        f = open('output/m', 'w+b'); f.truncate(10); m = mmap.mmap(f.fileno(), 10); m[:4] = b'abcd'
        s = shelve.Shelf(dbm.dumb.open('output/s')); s['k'] = [1]
        """),
    ("destructors of globals, in order", LOUD + "b = Loud('b'); a = Loud('a'); _c = Loud('_c'); l = [Loud('1'), Loud('2')]; d = {1: Loud('d')}\n"),
    ("destructors of what other modules hold", LOUD + """
import builtins, json, sys
json.kept = Loud('json'); builtins.kept = Loud('builtins'); sys.kept = Loud('sys'); json.JSONDecoder.kept = Loud('class')
"""),
    ("destructors of modules of its own", """
        open('mine.py', 'w').write('class T:\\n def __del__(self): print("gone", __name__, T is None)\\nkept = T()\\n_first = T()\\n')
        open('yours.py', 'w').write('import mine\\nkept = mine.T()\\n')
        import yours, mine
        import sys
        ghost = sys.modules.pop('yours')
        """),
    ("destructors that look around", """
        import os, sys
        value = 5
        class Look:
            def __del__(self):
                print(value, os is None, sys is None, __name__, type(open).__name__, [m in sys.modules for m in ('os', 'sys')])
        look = Look()
        """),
    ("a destructor that raises at the end", "class T:\n    def __del__(self): raise ValueError('at the end')\nt = T()\n"),
    ("a destructor that exits at the end", "import sys\nclass T:\n    def __del__(self): sys.exit(9)\nt = T()\n"),
    ("a destructor that imports at the end", "class T:\n    def __del__(self):\n        import colorsys\n        print(colorsys.__name__)\nt = T()\n"),
    ("a destructor that comes back", "kept = []\nclass T:\n    def __del__(self): kept.append(self); print('once')\nt = T(); del t\nprint(len(kept))\n"),
    ("destructors after an exception", LOUD + "def f(x):\n    y = Loud('local')\n    1 / 0\ng = Loud('global')\nf(Loud('argument'))\n"),
    ("destructors after sys.exit", LOUD + "def f():\n    y = Loud('local')\n    raise SystemExit(4)\nring = Loud('ring'); ring.me = ring\nf()\n"),
    ("destructors in threads that are done", LOUD + "import threading\nlocal = threading.local()\ndef f(): local.x = Loud('local')\nt = threading.Thread(target=f); t.start(); t.join()\nprint('joined')\n"),
    ("generators left suspended", """
        def g(name):
            try: yield
            finally: print('closed', name)
        a = g('a'); next(a)
        async def co():
            try: await other()
            finally: print('closed co')
        async def other():
            class W:
                def __await__(self): yield
            await W()
        c = co(); c.send(None)
        """),
    ("asynchronous generators left suspended", """
        import asyncio
        async def g():
            try: yield 1
            finally: print('closed')
        async def main():
            async for x in g(): break
            print('broken off')
        asyncio.run(main())
        """),
    ("a loop left with tasks", """
        import asyncio
        async def forever():
            try: await asyncio.sleep(1000)
            finally: print('cancelled')
        async def main():
            main.task = asyncio.create_task(forever(), name='t'); await asyncio.sleep(0)
        asyncio.run(main())
        print(main.task.cancelled())
        """),
    ("finalizers, atexit and destructors, in order", LOUD + """
import atexit, weakref
atexit.register(print, 'first registered')
thing = Loud('thing'); finalizer = weakref.finalize(thing, print, 'finalizer')
weakref.finalize(thing, print, 'not at exit').atexit = False
atexit.register(print, 'last registered')
@atexit.register
def nested(): atexit.register(print, 'registered at exit')
print('end of the script', finalizer.alive)
"""),
    ("atexit unregistered", "import atexit\natexit.register(print, 1)\natexit.unregister(print)\natexit.register(exit, 5)\n"),
    ("atexit that exits", "import atexit, sys\natexit.register(print, 'reached')\natexit.register(lambda: sys.exit(7))\n"),
    ("atexit that ends the process", "import atexit, os\natexit.register(print, 'never')\natexit.register(os._exit, 11)\n"),
    ("atexit that is killed", "import atexit, os, signal\natexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))\nprint('x')\n"),
    ("atexit that forks", "import atexit, os\n@atexit.register\ndef f():\n    pid = os.fork()\n    if not pid: os._exit(3)\n    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"),
    ("atexit sees what is still there", """
        import atexit, sys, threading
        @atexit.register
        def look(): print(__name__, sys.modules['__main__'].__dict__ is globals(), threading.active_count(), sys.exc_info(), hasattr(sys, 'last_value'))
        1 / 0
        """),
    ("threads, atexit, destructors, in order", LOUD + """
import atexit, threading
go = threading.Event()
def work(): go.wait(); print('thread')
threading.Thread(target=work).start()
atexit.register(print, 'atexit')
kept = Loud('kept')
threading._register_atexit(go.set)  # the last one registered runs first
threading._register_atexit(print, 'threading atexit')
print('end of the script')
"""),
    ("a thread that starts another at the end", """
        import threading
        def last(): print('last')
        def first(): threading.main_thread().join(); print('first'); threading.Thread(target=last).start()
        threading.Thread(target=first).start()
        """),
    ("a thread that fails after the end", """
        import threading
        def work(): threading.main_thread().join(); raise ValueError('late')
        threading.Thread(target=work, name='late-one').start()
        """),
    ("a thread that ends the process", "import os, threading, time\nthreading.Thread(target=os._exit, args=(6,)).start()\ntime.sleep(60)\n"),
    ("a thread that interrupts the script", """
        import _thread, signal, time
        _thread.start_new_thread(_thread.interrupt_main, ())
        try:
            while True: time.sleep(0.01)
        except KeyboardInterrupt: print('interrupted')
        """),
    ("daemon threads at the end", "import threading\ne = threading.Event()\nt = threading.Thread(target=e.wait, daemon=True); t.start()\nprint(t.is_alive())\n"),
    ("a pool left open", "from concurrent.futures import ThreadPoolExecutor\np = ThreadPoolExecutor(2)\nfs = [p.submit(pow, 2, n) for n in range(5)]\nprint(fs[4].result())\n"),
    ("futures that print after the end", "import threading\nfrom concurrent.futures import ThreadPoolExecutor\np = ThreadPoolExecutor(1)\nsaid = threading.Event()\ndef f(n): said.wait(); print(n)\nfor n in range(4): p.submit(f, n)\nprint('end'); said.set()\n"),
    ("buffered output at the end", "import sys\nsys.stdout = open(1, 'w', closefd=False)\nprint('buffered')\nsys.stderr = open(2, 'w', closefd=False)\nprint('too', file=sys.stderr)\n"),
    ("output buffered below", "import io, sys\nout = io.BufferedWriter(io.FileIO(1, 'w', closefd=False), 1 << 16)\nout.write(b'bytes ')\nsys.stdout.write('text ')\n"),
    ("a replaced stdout that can not be flushed", "import sys\nclass Bad:\n    def write(self, t): pass\n    def flush(self): raise OSError(5, 'no')\nsys.stdout = Bad()\nprint('x')\n"),
    ("a replaced stderr that can not be flushed", "import sys\nclass Bad:\n    def write(self, t): pass\n    def flush(self): raise OSError(5, 'no')\nsys.stderr = Bad()\nprint('x')\n"),
    ("a full device for stdout", "import sys\nsys.stdout = open('/dev/full', 'w')\nprint('x')\n"),
    ("a full device for stdout, and a code", "import sys\nsys.stdout = open('/dev/full', 'w')\nprint('x')\nsys.exit(4)\n"),
    ("stdout closed below", "import os\nprint('x')\nos.close(1)\nprint('y')\n"),
    ("stderr closed below, then an exception", "import os\nos.close(2)\n1 / 0\n"),
    ("all streams deleted", "import sys\ndel sys.stdout, sys.stderr, sys.stdin\n1 / 0\n"),
    ("streams that are None", "import sys\nsys.stdout = sys.stderr = None\nprint('x')\nraise SystemExit('text')\n"),
    ("stdout detached", "import sys\nraw = sys.stdout.detach()\nraw.write(b'x'); raw.flush()\n"),
    ("another encoding for stdout", "import sys\nsys.stdout.reconfigure(encoding='latin-1', errors='xmlcharrefreplace', newline='\\r\\n')\nprint('ü 世')\n"),
    ("sys.modules emptied", LOUD + "import sys\nkept = Loud('kept')\nsys.modules.clear()\nprint('x')\n"),
    ("__main__ replaced", LOUD + "import sys, types\nkept = Loud('kept')\nsys.modules['__main__'] = types.ModuleType('other')\nprint(__name__)\n"),
    ("builtins damaged", "import builtins\ndel builtins.print\nbuiltins.open = None\nbuiltins.len = None\nimport sys\nsys.stdout.write('x')\n"),
    ("the collector switched off", LOUD + "import gc\ngc.disable(); gc.set_debug(0)\nring = Loud('ring'); ring.me = ring; del ring\nprint('end')\n"),
    ("gc.garbage kept", "import gc\nclass T: pass\ngc.set_debug(gc.DEBUG_SAVEALL)\nt = T(); t.me = t; del t\nprint(gc.collect(), len(gc.garbage))\ngc.set_debug(0)\n"),
    ("a debug mode that talks at the end", "import sys\nsys.flags\nx = open('x', 'w')\n", {"env": {"PYTHONDEVMODE": "1"}}),
    ("an exit hook that is gone", "import sys\nsys.exitfunc = lambda: print('never')\n"),
    ("the last exception", "import atexit, sys\natexit.register(lambda: print(sys.last_type, sys.last_value, sys.last_traceback.tb_lineno))\n1 / 0\n"),
    ("interactive afterwards", "import os\nos.environ['PYTHONINSPECT'] = '1'\nx = 4\n", {"stdin": "print(x + 1)\nundefined\n"}),
    ("interactive after an exception", "import os\nos.environ['PYTHONINSPECT'] = '1'\nx = 1 / 0\n", {"stdin": "import sys; print(sys.last_value)\nexit(7)\n"}),
    ("finalization is announced", "import sys\nprint(sys.is_finalizing())\nimport atexit\natexit.register(lambda: print(sys.is_finalizing()))\n"),
    ("SystemExit in a finally of a generator", "import sys\ndef g():\n    try: yield\n    finally: sys.exit(5)\nx = g(); next(x)\nx.close()\n"),
    ("the C library's own buffer", "import ctypes\nprint('first', flush=True)\nctypes.CDLL(None).printf(b'second\\n')\n"),
    ("a code that is a subclass of int", "import sys\nclass Code(int): pass\nsys.exit(Code(9))\n"),
    ("a code that is a numpy integer", "import sys, numpy\nsys.exit(numpy.int64(4))\n"),
    ("a group of SystemExits", "raise BaseExceptionGroup('g', [SystemExit(3)])\n"),
    ("SystemExit with a cause", "try: 1 / 0\nexcept ZeroDivisionError as e: raise SystemExit(2) from e\n"),
]

# The template's own work shows in these, for the reasons given (README, "Warm runners"); fresh runners pass them.
FRESH_ONLY = [
    # Where nothing of the script's is below it, CPython names the frame that called, which is ours.
    ("atexit that exits by a function of C", "import atexit, sys\natexit.register(sys.exit, 7)\natexit.register(sys.exit, 'text')\n"),
    ("the stack in atexit", "import atexit, traceback\n@atexit.register\ndef f(): traceback.print_stack()\n"),
]
