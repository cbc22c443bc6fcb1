"""Role: descriptors, standard streams, children by fork, exec and subprocess.
Callers: see __init__.py.
Law: see __init__.py. No child outlives its script with a standard stream in hand: bare Python's harness would wait.
"""

SCRIPTS = [
    ("the standard streams", """
        import os, sys
        for s in (sys.stdin, sys.stdout, sys.stderr):
            print(s, s.encoding, s.errors, s.line_buffering, s.write_through, s.newlines, s.mode, s.name, s.fileno(), s.isatty())
            print(type(s.buffer), type(getattr(s.buffer, 'raw', None)), s.buffer.mode, s.closed, s.seekable())
        print(sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)
        """),
    ("the first descriptors", """
        import fcntl, os, stat
        for fd in range(40):
            try: mode = os.fstat(fd).st_mode
            except OSError: continue
            print(fd, stat.filemode(mode)[0], fcntl.fcntl(fd, fcntl.F_GETFL), fcntl.fcntl(fd, fcntl.F_GETFD), os.get_blocking(fd))
        print(os.open('.', os.O_RDONLY), os.pipe(), os.dup(0))
        """),
    ("where it is", """
        import os
        print(os.getcwd(), sorted(os.listdir()), oct(os.umask(0)))
        print(os.path.abspath('x'), os.path.expanduser('~'), os.path.realpath('script.py'))
        """),
    ("who it is", """
        import os
        print(os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid(), os.nice(0), os.getpriority(os.PRIO_PROCESS, 0))
        print(os.sched_getscheduler(0), len(os.sched_getaffinity(0)), os.get_terminal_size is not None)
        print(open('/proc/self/comm').read(), os.readlink('/proc/self/exe'), open('/proc/self/cmdline').read().split('\\0'))
        for f in (os.getlogin, os.get_terminal_size):
            try: f()
            except OSError as error: print(error)
        """),
    ("stdin, all of it", "import sys\nprint(repr(sys.stdin.read()), repr(sys.stdin.read()))\n", {"stdin": "a\r\nb\nü世"}),
    ("stdin, line by line", "import sys\nfor line in sys.stdin: print(repr(line))\nprint(sys.stdin.newlines)\n", {"stdin": "a\r\nb\rc\nd"}),
    ("stdin, by input", "print(input('first? '), input(), end='')\ninput('third? ')\n", {"stdin": "one\ntwo\n"}),
    ("stdin, bytes", "import sys\nprint(sys.stdin.buffer.read(3), sys.stdin.buffer.readline(), sys.stdin.buffer.peek())\n", {"stdin": "abcdef\nxyz"}),
    ("stdin, not UTF-8", "import sys\nprint(sys.stdin.read())\n", {"stdin": {"content": "/wBB", "encoding": "base64"}}),
    ("stdin, much of it", "import sys\nprint(sum(map(len, sys.stdin)), len(sys.stdin.read()))\n", {"stdin": "0123456789\n" * 40000}),
    ("stdin, unread", "print('done')\n", {"stdin": "x" * 300000}),
    ("stdin, empty", "import os, select, sys\nprint(os.read(0, 9), select.select([0], [], [], 9)[0], repr(sys.stdin.read()))\ninput()\n"),
    ("stdin, given to a child", "import subprocess\nsubprocess.run(['/bin/cat', '-n'])\n", {"stdin": "a\nb\n"}),
    ("stdin, run as code", "import code\ncode.interact(banner='', exitmsg='')\n", {"stdin": "x = 1\nx + 1\n1 / 0\n"}),
    ("the script reads itself", "print(open(__file__).read(), open('script.py', 'rb').read() == open(0, 'rb').read())\n"),
    ("output of bytes", "import sys, os\nsys.stdout.buffer.write(bytes(range(256)))\nos.write(2, b'\\xe4\\xb8 \\xff\\n')\n"),
    ("output of both streams", "import sys\nfor n in range(300): print(n, 'o' * n); print(n, 'e' * n, file=sys.stderr)\n"),
    ("much output", "import sys\nsys.stdout.write('0123456789abcde\\n' * 40000)\nprint('end', file=sys.stderr)\n"),
    ("fork, both sides print", """
        import os, sys
        pid = os.fork()
        if pid == 0:
            print('child', os.getppid() != 0, sys.stdin.fileno())
        else:
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 'parent')
        """),
    ("fork, both sides end by themselves", """
        import atexit, os, sys
        class Loud:
            def __del__(self): print('gone in the', side)
        side, kept = 'parent', Loud()
        atexit.register(lambda: print('atexit in the', side))
        pid = os.fork()
        if pid == 0:
            side = 'child'
            sys.exit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """),
    ("fork, the child fails", """
        import os
        pid = os.fork()
        if pid == 0:
            def f(): raise ValueError('in the child')
            f()
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """),
    ("fork, the child leaves files open", """
        import os
        f = open('output/both', 'w'); f.write('once more ')
        if os.fork() == 0:
            g = open('output/child', 'w'); g.write('child')
        else:
            os.wait()
        """),
    ("fork, the child is killed", "import os, signal, time\npid = os.fork()\nif not pid: time.sleep(60)\nos.kill(pid, signal.SIGTERM)\nprint(os.waitpid(pid, 0)[1])\n"),
    ("fork, children of children", """
        import os
        def tree(depth):
            for n in range(2):
                pid = os.fork()
                if pid == 0:
                    if depth: tree(depth - 1)
                    os._exit(depth * 2 + n)
                print(depth, n, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        tree(1)
        """),
    ("fork, the child outlives the script", """
        import os, time
        if os.fork() == 0:
            os.closerange(0, 3)
            time.sleep(30)
            os._exit(1)
        print('parent has ended')
        """),
    ("fork, the child runs the parent's atexit", "import atexit, os\natexit.register(print, 'atexit')\npid = os.fork()\nif pid: os.waitpid(pid, 0)\n"),
    ("fork in a thread", """
        import os, threading
        def work():
            pid = os.fork()
            if pid == 0:
                print(threading.main_thread() is threading.current_thread(), threading.active_count())
                os._exit(0)
            os.waitpid(pid, 0)
        t = threading.Thread(target=work); t.start(); t.join()
        """),
    ("callbacks around fork", "import os\nos.register_at_fork(before=lambda: print('before'), after_in_parent=lambda: print('parent'), after_in_child=lambda: os._exit(4))\nprint(os.waitstatus_to_exitcode(os.waitpid(os.fork(), 0)[1]))\n"),
    ("a handler for the end of children", "import os, signal\nsignal.signal(signal.SIGCHLD, lambda *_: print('SIGCHLD'))\npid = os.fork()\nif not pid: os._exit(0)\nos.waitpid(pid, 0)\nprint('waited')\n"),
    ("random differs after fork", "import os, random\nr, w = os.pipe()\nif not os.fork(): os.write(w, repr(random.random()).encode()); os._exit(0)\nos.wait()\nprint(os.read(r, 99).decode() != repr(random.random()))\n"),
    ("no children, nobody to wait for", "import os\ntry: os.wait()\nexcept ChildProcessError as error: print(error)\n"),
    ("exec of another program", "import os\nprint('before')\nos.execv('/bin/echo', ['echo', 'from', 'echo'])\n"),
    ("exec of Python", "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'import sys; print(sys.argv, sys.path[0]); sys.exit(3)', 'a'])\n"),
    ("exec of the script itself", "import os, sys\nif len(sys.argv) < 3: os.execv(sys.executable, [sys.executable, 'script.py', *sys.argv[1:], 'more'])\nprint(sys.argv, sys.flags.utf8_mode)\nraise ValueError(1)\n"),
    ("exec without atexit", "import atexit, os\natexit.register(print, 'never')\nf = open('output/f', 'w'); f.write('lost')\nos.execvp('sh', ['sh', '-c', 'exit 5'])\n"),
    ("exec with other variables", "import os\nos.execve('/usr/bin/env', ['env'], {'ONLY': 'this'})\n"),
    ("exec of what is not there", "import os\nos.execv('/none/such', ['x'])\n"),
    ("exec in a thread", "import os, threading, time\nthreading.Thread(target=os.execv, args=('/bin/echo', ['echo', 'threaded'])).start()\ntime.sleep(60)\n"),
    ("exec, then a signal", "import os\nos.execv('/bin/sh', ['sh', '-c', 'echo x; kill -ABRT $$'])\n"),
    ("subprocess", """
        import subprocess, sys
        print(subprocess.run(['/bin/sh', '-c', 'echo out; echo err >&2; exit 3'], capture_output=True, text=True))
        print(subprocess.check_output('cat; pwd', shell=True, input=b'in\\n'))
        print(subprocess.run([sys.executable, '-c', 'import sys; print(sys.flags, sys.argv, sys.path[0])', 'x'], capture_output=True, text=True).stdout)
        try: subprocess.run(['/bin/sleep', '60'], timeout=0.05)
        except subprocess.TimeoutExpired as error: print(error.cmd)
        try: subprocess.run(['/none/such'])
        except OSError as error: print(error)
        subprocess.run('exit 9', shell=True, check=True)
        """),
    ("system, popen and spawn", "import os\nprint(os.system('exit 3'), os.popen('echo popen').read(), os.spawnlp(os.P_WAIT, 'sh', 'sh', '-c', 'exit 4'), os.system('kill -9 $$'))\n"),
    ("posix_spawn", "import os\npid = os.posix_spawn('/bin/echo', ['echo', 'spawned'], os.environ)\nprint(os.waitpid(pid, 0)[1])\n"),
    ("a pipe between children", "import subprocess\na = subprocess.Popen(['echo', 'c\\nb\\na'], stdout=subprocess.PIPE)\nb = subprocess.Popen(['sort'], stdin=a.stdout, stdout=subprocess.PIPE)\na.stdout.close()\nprint(b.communicate()[0], a.wait())\n"),
    ("writing to a pipe that nobody reads", "import os, signal\nr, w = os.pipe(); os.close(r)\ntry: os.write(w, b'x')\nexcept BrokenPipeError as error: print(error)\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)\nos.write(w, b'x')\n"),
    ("multiprocessing by fork", """
        import multiprocessing as mp, os
        class Job:
            def __init__(self, n): self.n = n
        def work(job, out): out.send((mp.current_process().name, job.n, __name__, mp.parent_process().name)); out.close()
        def fail(): raise ValueError('in the child')
        if __name__ == '__main__':
            print(mp.get_start_method(), mp.current_process().name, mp.active_children(), mp.parent_process())
            mine, theirs = mp.Pipe()
            p = mp.Process(target=work, args=(Job(3), theirs)); p.start(); print(mine.recv()); p.join()
            q = mp.Process(target=fail, name='failing'); q.start(); q.join(); print(p.exitcode, q.exitcode)
        """),
    ("multiprocessing by spawn", """
        import multiprocessing as mp
        class Job:
            def __init__(self, n): self.n = n
        def work(job, out): out.send((job.n, __name__, type(job).__module__)); out.close()
        print('run as', __name__)
        if __name__ == '__main__':
            context = mp.get_context('spawn')
            mine, theirs = context.Pipe()
            p = context.Process(target=work, args=(Job(4), theirs)); p.start(); print(mine.recv()); p.join(); print(p.exitcode)
        """),
    ("a zombie left at the end", "import os\nif not os.fork(): os._exit(0)\nprint('not waited for')\n"),
    ("killed by itself in a child's group", "import os, signal\nprint('x')\nos.killpg(0, signal.SIGTERM)\n"),
    ("killed while output is buffered", "import os, signal, sys\nout = open(1, 'w', closefd=False)\nout.write('lost')\nos.kill(os.getpid(), signal.SIGKILL)\n"),
    ("artifacts of every shape", """
        import os
        open('output/text', 'w').write('ü\\r\\n'); open('output/bytes', 'wb').write(b'\\0\\xff'); open('output/empty', 'w')
        open('output/ä b', 'w').write('named'); open('output/.hidden', 'w').write('h')
        """),
    ("inputs", "import os\nfor n in sorted(os.listdir('input')): print(n, open('input/' + n, 'rb').read(), os.access('input/' + n, os.X_OK))\n",
     {"context": {"a.txt": "ä", "b.bin": {"content": "AP8=", "encoding": "base64"}}}),
    ("a project", "import lib.tool, sys\nprint(lib.tool.__file__, lib.__path__, sys.path[0])\nlib.tool.go()\n",
     {"files": {"lib/tool.py": "import os\ndef go():\n    raise OSError(os.path.relpath(__file__))\n", "lib/__init__.py": ""}}),
]
