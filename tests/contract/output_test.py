"""Role: standard output and standard error on their way from the script to the answer.
Callers: meson test, once a mode of starting the service.
"""
from contract import CAP, ServiceTest, main

MARK = "\n[Truncated: {} exceeded 10485760 bytes]"

NOT_UTF8 = [
    b"\x80", b"\xff", b"\xc3", b"\xc3\x28", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xe2\x82", b"\xe2\x28\xa1", b"\xe2\x82\x28",
    b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x9f", b"\xf0\x9f\x98", b"\xf0\x9f\x98x", b"\xf0\x28\x8c\xbc",
    b"\xf0\x80\x80\xaf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe\xfe\xff\xff",
    b"a\xf1\x80\x80\xe1\x80\xc2b\x80c\x80\xbfd", b"\xc3\xa9\xff\xc3\xa9", b"\xef\xbb\xbfbom", b"\x00nul\x00",
    bytes(range(256)), bytes(range(255, -1, -1)), b"\xe4\xb8\x96" * 1000 + b"\xe4\xb8", b"\x1b[31mred\x1b[0m\r\n\x08",
]


class Decoding(ServiceTest):
    """Bytes become text as Python's errors="replace" does it."""

    def test_what_is_not_utf_8_is_replaced_as_python_replaces_it(self):
        for raw in NOT_UTF8:
            for number, name in ((1, "stdout"), (2, "stderr")):
                with self.subTest(raw=raw[:20], stream=name):
                    result = self.run_script(f"import os; os.write({number}, {raw!r})")
                    self.assertEqual(result[name], raw.decode("utf-8", "replace"))

    def test_a_character_written_in_two_halves_is_whole(self):
        self.assertEqual(self.output_of("""
            import os, time
            for byte in '世é🎉'.encode():
                os.write(1, bytes([byte]))
                time.sleep(0.01)
            """), "世é🎉")

    def test_characters_survive_every_alignment_of_large_output(self):
        self.assertEqual(self.output_of("import sys; sys.stdout.write('x' + '世🎉é' * 200000)"),
                         "x" + "世🎉é" * 200000)


class Streams(ServiceTest):
    """Where the bytes come from, and in which order."""

    def test_nothing_is_added_to_output_without_a_newline(self):
        self.assertEqual(self.output_of("print('no newline', end='')"), "no newline")

    def test_each_stream_keeps_its_own_order(self):
        result = self.run_script("""
            import sys
            for i in range(5000):
                print(i)
                print(-i, file=sys.stderr)
            """)
        self.assertEqual(result["stdout"], "".join(f"{i}\n" for i in range(5000)))
        self.assertEqual(result["stderr"], "".join(f"{-i}\n" for i in range(5000)))

    def test_one_full_stream_does_not_block_the_other(self):
        result = self.run_script("""
            import sys
            sys.stderr.write('e' * 3000000)
            sys.stdout.write('o' * 3000000)
            sys.stderr.write('E' * 3000000)
            """)
        self.assertEqual(result["stdout"], "o" * 3000000)
        self.assertEqual(result["stderr"], "e" * 3000000 + "E" * 3000000)

    def test_children_and_threads_write_to_the_same_streams(self):
        self.assertEqual(self.output_of("""
            import os, subprocess, sys, threading
            print('parent')
            subprocess.run(['/bin/echo', 'program'])
            subprocess.run([sys.executable, '-c', 'print("python")'])
            if os.fork() == 0:
                print('fork')
                os._exit(0)
            os.wait()
            t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()
            """), "parent\nprogram\npython\nfork\nthread\n")

    def test_what_a_child_wrote_before_the_end_is_kept(self):
        self.assertEqual(self.output_of("""
            import os, time
            r, w = os.pipe()
            if os.fork() == 0:
                os.write(1, b'from the child\\n')
                os.close(w)
                time.sleep(300)
            os.close(w)
            os.read(r, 1)
            """), "from the child\n")

    def test_the_streams_are_blocking_pipes(self):
        self.assertEqual(self.output_of("""
            import os, stat
            for fd in (1, 2):
                print(os.get_blocking(fd), stat.S_ISFIFO(os.fstat(fd).st_mode), os.isatty(fd))
            """), "True True False\n" * 2)

    def test_the_streams_can_be_opened_by_name(self):
        result = self.run_script("""
            for name in ('/dev/stdout', '/dev/fd/1', '/proc/self/fd/1'):
                with open(name, 'w') as stream: print(name, file=stream)
            print('error', file=open('/dev/stderr', 'w'))
            """)
        self.assertEqual((result["exit_code"], result["stdout"], result["stderr"]),
                         (0, "/dev/stdout\n/dev/fd/1\n/proc/self/fd/1\n", "error\n"))

    def test_a_script_may_close_its_streams(self):
        result = self.run_script("""
            import os
            for fd, text in ((1, b'o'), (2, b'e')):
                os.write(fd, text)
                os.close(fd)
            os._exit(3)
            """)
        self.assertEqual((result["exit_code"], result["stdout"], result["stderr"]), (3, "o", "e"))

    def test_output_of_many_tiny_writes_is_complete(self):
        self.assertEqual(self.output_of("import os\nfor i in range(100000): os.write(1, b'.')"), "." * 100000)


class Truncation(ServiceTest):
    """Each stream is kept up to 10 MiB; the script goes on and standard error tells."""

    def test_exactly_the_limit_is_whole(self):
        result = self.run_script("import sys; sys.stdout.write('o' * 10485760); sys.stderr.write('e' * 10485760)")
        self.assertEqual((result["exit_code"], result["stdout"] == "o" * CAP, result["stderr"] == "e" * CAP),
                         (0, True, True))

    def test_one_byte_more_is_dropped_and_told(self):
        result = self.run_script("import sys; sys.stdout.write('o' * 10485760 + 'X'); sys.stderr.write('err')")
        self.assertTrue(result["stdout"] == "o" * CAP, len(result["stdout"]))
        self.assertEqual((result["exit_code"], result["stderr"]), (0, "err" + MARK.format("stdout")))

    def test_standard_error_is_kept_and_told_too(self):
        result = self.run_script("import sys; sys.stderr.write('e' * 10485761); print('out')")
        self.assertEqual((result["exit_code"], result["stdout"]), (0, "out\n"))
        self.assertTrue(result["stderr"] == "e" * CAP + MARK.format("stderr"), result["stderr"][-100:])

    def test_both_are_told(self):
        result = self.run_script("""
            import sys
            for stream in (sys.stdout, sys.stderr): stream.write('x' * 11000000)
            """)
        self.assertEqual((len(result["stdout"]), result["stderr"][:CAP] == "x" * CAP), (CAP, True))
        self.assertEqual(sorted(result["stderr"][CAP:].split("\n")), sorted(
            (MARK.format("stdout") + MARK.format("stderr")).split("\n")))

    def test_the_script_goes_on_to_its_own_end(self):
        result = self.run_script("""
            import sys
            for i in range(64): sys.stdout.write('x' * (1 << 20))
            open('output/after.txt', 'w').write('done')
            sys.exit(7)
            """)
        self.assertEqual((result["exit_code"], result["artifacts"]), (7, {"after.txt": "done"}))
        self.assertEqual(len(result["stdout"]), CAP)

    def test_a_character_cut_by_the_limit_does_no_harm(self):
        result = self.run_script("import sys; sys.stdout.write('o' * (10485760 - 1) + '世界')")
        self.assertEqual(result["stdout"].rstrip("\ufffd"), "o" * (CAP - 1))
        self.assertLessEqual(len(result["stdout"]), CAP)
        self.assertEqual(result["stderr"], MARK.format("stdout"))

    def test_the_end_of_a_traceback_is_not_more_important_than_the_limit(self):
        result = self.run_script("import sys; sys.stderr.write('e' * 10485760); raise ValueError('late')")
        self.assertEqual((result["exit_code"], result["stderr"]), (1, "e" * CAP + MARK.format("stderr")))


if __name__ == "__main__":
    main()
