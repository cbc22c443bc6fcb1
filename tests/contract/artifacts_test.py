"""Role: what ./output/ becomes in the answer, and what is never taken from it.
Callers: meson test, once a mode of starting the service.
"""
import base64

from contract import CAP, ServiceTest, main


class Kinds(ServiceTest):
    """Regular files of the job's own, and nothing else."""

    def artifacts_of(self, text, **fields):
        result = self.run_script(text, **fields)
        self.assertEqual((result["exit_code"], result["stderr"]), (0, ""))
        return result["artifacts"]

    def test_text_comes_as_text_and_the_rest_as_base64(self):
        contents = {"empty": b"", "text.txt": "größe 世界 🎉\r\n".encode(), "controls": b"\x01\x02\x7f\t",
                    "nul": b"a\0b", "invalid": b"\xff\xfe", "cut": b"abc\xe4\xb8", "surrogate": b"\xed\xa0\x80",
                    "all": bytes(range(256)), "bom": b"\xef\xbb\xbfx", "noncharacter": "\uffff\ufdd0".encode()}
        got = self.artifacts_of(f"for n, c in {contents!r}.items(): open('output/' + n, 'wb').write(c)")
        base64_names = {"nul", "invalid", "cut", "surrogate", "all"}
        want = {n: {"content": base64.b64encode(c).decode(), "encoding": "base64"} if n in base64_names else c.decode()
                for n, c in contents.items()}
        self.assertEqual(got, want)

    def test_a_script_s_artifacts_are_the_top_level_alone(self):
        self.assertEqual(self.artifacts_of("""
            import os
            os.makedirs('output/deep/er')
            open('output/deep/er/x', 'w').write('x'); open('output/deep/y', 'w').write('y')
            open('output/top', 'w').write('t')
            """), {"top": "t"})

    def test_a_project_s_artifacts_are_nested(self):
        result = self.run_files({"m.py": (
            "import os\nos.makedirs('output/deep/er')\nos.makedirs('output/empty')\n"
            "open('output/deep/er/x', 'w').write('x')\nopen('output/deep/y', 'wb').write(b'\\0')\n"
            "open('output/top', 'w').write('t')\n")}, "m.py")
        self.assertEqual(result["artifacts"], {"deep/er/x": "x", "top": "t",
                                               "deep/y": {"content": "AA==", "encoding": "base64"}})

    def test_odd_names_are_kept(self):
        names = ["a b", " ", "-rf", "quote\"'", "back\\slash", "new\nline", "tab\t", "ünï🎉", ".hidden", "..x",
                 "a" * 255, "<script>", "\x01"]
        got = self.artifacts_of(f"for n in {names!r}: open('output/' + n, 'w').write(n)")
        self.assertEqual(got, {name: name for name in names})

    def test_a_name_that_is_not_utf_8_is_returned_with_replacements(self):
        self.assertEqual(self.artifacts_of("open(b'output/a\\xffb', 'w').write('x')"), {"a\ufffdb": "x"})

    def test_names_that_look_the_same_get_numbers(self):
        self.assertEqual(set(self.artifacts_of("for i in (0xfd, 0xfe, 0xff): open(b'output/a%c' % i, 'w').write('x')")),
                         {"a\ufffd", "a\ufffd (2)", "a\ufffd (3)"})

    def test_links_pipes_sockets_and_folders_are_never_followed_or_returned(self):
        self.assertEqual(self.artifacts_of("""
            import os, socket
            open('outside.txt', 'w').write('outside')
            os.symlink('/etc/passwd', 'output/passwd')
            os.symlink('../outside.txt', 'output/relative')
            os.symlink('/proc/self/environ', 'output/environ')
            os.symlink('own', 'output/to-own')
            os.symlink('loop', 'output/loop')
            os.symlink('/', 'output/root')
            os.symlink('/nowhere', 'output/dangling')
            os.mkfifo('output/fifo')
            try: socket.socket(socket.AF_UNIX).bind('output/socket')
            except OSError: pass
            os.mkdir('output/folder')
            open('output/own', 'w').write('own')
            """), {"own": "own"})

    def test_nested_links_are_not_followed_either(self):
        result = self.run_files({"m.py": (
            "import os\nos.mkdir('output/d')\nos.symlink('/etc', 'output/d/etc')\nos.symlink('..', 'output/d/up')\n"
            "os.symlink('/etc/hostname', 'output/d/name')\nopen('output/d/own', 'w').write('own')\n")}, "m.py")
        self.assertEqual(result["artifacts"], {"d/own": "own"})

    def test_output_itself_may_be_gone_or_something_else(self):
        rows = [("gone", "import os; os.rmdir('output')"),
                ("a link to the root", "import os; os.rmdir('output'); os.symlink('/', 'output')"),
                ("a link to /etc", "import os; os.rmdir('output'); os.symlink('/etc', 'output')"),
                ("a link to its own input", "import os; os.rmdir('output'); os.symlink('input', 'output')"),
                ("a file", "import os; os.rmdir('output'); open('output', 'w').write('x')"),
                ("a fifo", "import os; os.rmdir('output'); os.mkfifo('output')")]
        for name, text in rows:
            with self.subTest(name):
                self.assertEqual(self.artifacts_of(text, context={"secret.txt": "input"}), {})

    def test_output_moved_and_made_anew_is_the_new_one(self):
        self.assertEqual(self.artifacts_of("""
            import os
            open('output/old', 'w').write('old')
            os.rename('output', 'elsewhere'); os.mkdir('output')
            open('output/new', 'w').write('new')
            """), {"new": "new"})

    def test_files_without_any_permission_do_not_spoil_the_others(self):
        got = self.artifacts_of("""
            import os
            open('output/open', 'w').write('o'); open('output/shut', 'w').write('s'); os.chmod('output/shut', 0)
            """)
        self.assertEqual(got["open"], "o")

    def test_what_a_failing_script_left_is_returned(self):
        result = self.run_script("open('output/a', 'w').write('x'); 1/0")
        self.assertEqual((result["exit_code"], result["artifacts"]), (1, {"a": "x"}))

    def test_files_of_children_count_and_those_still_writing_are_stopped_first(self):
        got = self.artifacts_of("""
            import os, subprocess, time
            subprocess.run(['/bin/sh', '-c', 'echo child > output/child.txt'])
            r, w = os.pipe()
            if os.fork() == 0:
                os.close(r)
                f = open('output/growing', 'w', buffering=1)
                f.write('started\\n')
                os.write(w, b'x')
                while True:
                    f.write('more\\n')
                    time.sleep(0.001)
            os.read(r, 1)
            """)
        self.assertEqual(got["child.txt"], "child\n")
        self.assertTrue(got["growing"].startswith("started\n"))

    def test_a_folder_of_great_depth_does_no_harm(self):
        result = self.run_files({"m.py": (
            "import os\nopen('output/top', 'w').write('t')\nos.chdir('output')\n"
            "for i in range(1000):\n    os.mkdir('d' * 100)\n    os.chdir('d' * 100)\n"
            "open('deep', 'w').write('x')\n")}, "m.py")
        self.assertEqual((result["exit_code"], result["stderr"], result["artifacts"].get("top")), (0, "", "t"))
        self.assert_still_serves()


class HardLinks(ServiceTest):
    """A hard link is taken only when the job could have written the file itself."""

    def test_a_link_to_a_file_of_the_host_is_not_returned(self):
        for target in ("/etc/passwd", "/usr/bin/python3.11", "/etc/hostname"):
            with self.subTest(target):
                result = self.run_script(f"""
                    import os
                    try: os.link('{target}', 'output/stolen')
                    except OSError as error: print(type(error).__name__)
                    """)
                self.assertEqual(result["artifacts"], {}, "refused by the sandbox or left out of the answer")

    def test_two_names_of_one_s_own_file_are_two_artifacts_or_none(self):
        result = self.run_script("import os; open('output/a', 'w').write('x'); os.link('output/a', 'output/b')")
        self.assertIn(result["artifacts"], ({"a": "x", "b": "x"}, {}))


class Totals(ServiceTest):
    """Above 10 MiB or 1,000 files the answer is 500, and the output is not lost."""

    def assert_too_large(self, answer, **rest):
        self.assertEqual(answer.status, 500, answer)
        self.assertEqual(set(answer.json), {"error", "exit_code", "stdout", "stderr"})
        self.assertEqual({key: answer.json[key] for key in rest}, rest)
        return answer.json["error"]

    def test_exactly_10_mib_is_returned(self):
        result = self.run_script("for n in 'ab': open('output/' + n, 'w').write(n * (5 << 20))")
        self.assertTrue(result["artifacts"] == {"a": "a" * (5 << 20), "b": "b" * (5 << 20)})

    def test_10_mib_of_bytes_are_returned_in_base64(self):
        result = self.run_script("open('output/z', 'wb').write(bytes(10 << 20))")
        self.assertTrue(base64.b64decode(result["artifacts"]["z"]["content"]) == bytes(CAP))

    def test_one_byte_more_is_500_and_keeps_the_output(self):
        answer = self.service.post({"script": (
            "import sys\nopen('output/a', 'w').write('a' * (10 << 20))\nopen('output/b', 'w').write('b')\n"
            "print('kept')\nprint('kept too', file=sys.stderr)\nsys.exit(3)\n")})
        error = self.assert_too_large(answer, exit_code=3, stdout="kept\n", stderr="kept too\n")
        self.assertEqual(error, "Total artifacts too large: exceeds 10485760 bytes.")

    def test_a_sparse_file_counts_with_its_size(self):
        answer = self.service.post({"script": "open('output/s', 'w').truncate(100 << 20); print('kept')"})
        self.assert_too_large(answer, exit_code=0, stdout="kept\n")

    def test_1000_files_are_returned_and_1001_are_not(self):
        result = self.run_script("for i in range(1000): open(f'output/{i}', 'w').write('x')")
        self.assertEqual(result["artifacts"], {str(i): "x" for i in range(1000)})
        answer = self.service.post({"script": "for i in range(1001): open(f'output/{i}', 'w')\nprint('kept')"})
        self.assert_too_large(answer, exit_code=0, stdout="kept\n")

    def test_nested_files_count_together(self):
        text = ("import os\nfor d in 'abc':\n    os.mkdir('output/' + d)\n"
                "    open(f'output/{d}/x', 'w').write('x' * (4 << 20))\nprint('kept')\n")
        answer = self.service.post({"files": {"m.py": text}, "entry_point": "m.py"})
        self.assert_too_large(answer, exit_code=0, stdout="kept\n")

    def test_links_to_large_files_do_not_count(self):
        result = self.run_script("import os\nfor i in range(2000): os.symlink('/usr/bin/python3.11', f'output/{i}')")
        self.assertEqual((result["exit_code"], result["artifacts"]), (0, {}))


if __name__ == "__main__":
    main()
