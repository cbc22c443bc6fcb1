"""Role: POST /api/run: the three modes, every field, its default and its meaning.
Callers: meson test, once a mode of starting the service.
"""
import base64
import json

from contract import MEMBERS, ServiceTest, main, script


class RawMode(ServiceTest):
    """A text/plain body is the script itself."""

    def test_the_body_is_the_script(self):
        for content_type in ("text/plain", "text/plain; charset=utf-8", "text/plain;charset=UTF-8"):
            with self.subTest(content_type):
                answer = self.service.post_raw("print('Hello, World!')", headers={"Content-Type": content_type})
                self.assertEqual((answer.status, answer.json),
                                 (200, {"exit_code": 0, "stdout": "Hello, World!\n", "stderr": "", "artifacts": {}}))

    def test_a_body_that_looks_like_json_is_still_python(self):
        self.assertEqual(self.service.post_raw('{"script": "print(1)"}').json["stdout"], "")

    def test_a_script_keeps_its_characters(self):
        answer = self.service.post_raw("print('Grüße, 世界, 🎉')")
        self.assertEqual(answer.json["stdout"], "Grüße, 世界, 🎉\n")

    def test_the_script_is_laid_out_byte_for_byte(self):
        body = "import sys\r\nsys.stdout.write(repr(open(__file__, 'rb').read()))\r\n# é\n\n"
        self.assertEqual(self.service.post_raw(body).json["stdout"], repr(body.encode()))

    def test_timeout_s_is_a_query_parameter(self):
        result = self.service.post_raw("while True: pass", "?timeout_s=1").json
        self.assertEqual(result["exit_code"], 124)

    def test_context_and_arguments_are_empty(self):
        result = self.service.post_raw("import os, sys; print(os.listdir('input'), sys.argv[1:], sys.stdin.read())")
        self.assertEqual(result.json["stdout"], "[] [] \n")


class ScriptMode(ServiceTest):
    """A JSON body with `script`."""

    def test_any_other_content_type_is_json(self):
        body = json.dumps({"script": "print(1)"}).encode()
        for content_type in ("application/json", "application/json; charset=utf-8", "application/octet-stream",
                             "application/x-www-form-urlencoded", "text/html", None):
            with self.subTest(content_type):
                headers = {"Content-Type": content_type} if content_type else {}
                answer = self.service.request("POST", "/api/run", body, headers)
                self.assertEqual((answer.status, answer.json["stdout"]), (200, "1\n"))

    def test_the_answer_has_exactly_four_members(self):
        answer = self.service.post({"script": "pass"})
        self.assertEqual(set(answer.json), MEMBERS)
        self.assertEqual(answer.headers["Content-Type"].split(";")[0], "application/json")

    def test_unknown_fields_are_ignored(self):
        self.assertEqual(self.output_of("print(2)", colour="red", nested={"a": [1, {"b": None}]}), "2\n")

    def test_escapes_of_json_reach_the_script_as_characters(self):
        body = b'{"script": "print(\\"\\u00e9\\ud83c\\udf89\\\\t|\\t|\\")"}'
        self.assertEqual(self.service.request("POST", "/api/run", body).json["stdout"], "é🎉\t|\t|\n")

    def test_timeout_s(self):
        rows = [({}, 60), ({"timeout_s": None}, 60), ({"timeout_s": 7}, 7), ({"timeout_s": "7"}, 7),
                ({"timeout_s": 1.9}, 1), ({"timeout_s": 300}, 300), ({"timeout_s": 301}, 300),
                ({"timeout_s": 999999999}, 300), ({"timeout_s": "999999999"}, 300)]
        for fields, seconds in rows:
            with self.subTest(fields):
                run = self.run_script("pass", detail=True, **fields)["run"]
                self.assertEqual(run["limits"]["timeout_s"], seconds)

    def test_context_files_arrive_in_input(self):
        context = {"plain.txt": "größe\n", "dict.txt": {"content": "text"},
                   "utf8.txt": {"content": "é", "encoding": "utf-8"}, "empty": "", "a b'\"\n.csv": "odd name",
                   "binary.bin": {"content": base64.b64encode(bytes(range(256))).decode(), "encoding": "base64"}}
        got = self.output_of("""
            import os
            print({name: open('input/' + name, 'rb').read().hex() for name in os.listdir('input')})
            """, context=context)
        want = {"plain.txt": "größe\n".encode(), "dict.txt": b"text", "utf8.txt": "é".encode(), "empty": b"",
                "a b'\"\n.csv": b"odd name", "binary.bin": bytes(range(256))}
        self.assertEqual(eval(got), {name: content.hex() for name, content in want.items()})

    def test_context_files_are_read_only(self):
        self.assertEqual(self.output_of("""
            import os
            print(oct(os.stat('input/a').st_mode & 0o7777))
            try: open('input/a', 'w')
            except OSError as error: print(type(error).__name__)
            """, context={"a": "1"}), "0o400\nPermissionError\n")

    def test_stdin_is_a_string_or_a_file(self):
        raw = bytes(range(256)) * 1000
        rows = [("one\ntwo\n", b"one\ntwo\n"), ("", b""), ({"content": "é"}, "é".encode()),
                ({"content": base64.b64encode(raw).decode(), "encoding": "base64"}, raw)]
        for given, want in rows:
            with self.subTest(want[:8]):
                self.assertEqual(self.output_of("""
                    import hashlib, sys
                    print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())
                    """, stdin=given), __import__("hashlib").sha256(want).hexdigest() + "\n")

    def test_stdin_works_with_input_and_ends(self):
        result = self.run_script("print(input()); print(input()); input()", stdin="a\nb\n")
        self.assertEqual((result["exit_code"], result["stdout"]), (1, "a\nb\n"))
        self.assertIn("EOFError", result["stderr"])

    def test_without_stdin_there_is_an_end_of_file_at_once(self):
        self.assertEqual(self.output_of("import sys; print(repr(sys.stdin.read()))"), "''\n")

    def test_a_script_need_not_read_its_stdin(self):
        self.assertEqual(self.output_of("print('done')", stdin="x" * (5 * 1024 * 1024)), "done\n")

    def test_args_are_sys_argv(self):
        args = ["", "a b", "--flag=é", "-c", "'quoted\"", "line\nbreak"]
        self.assertEqual(eval(self.output_of("import sys; print(ascii(sys.argv))", args=args)), ["script.py", *args])

    def test_env_is_added(self):
        env = {"FOO": "bar", "_x1": "é = ü\n", "EMPTY": ""}
        got = self.output_of("import os; print(ascii({k: os.environ.get(k) for k in ['FOO', '_x1', 'EMPTY']}))",
                             env=env)
        self.assertEqual(eval(got), env)

    def test_empty_collections_are_the_defaults(self):
        self.assertEqual(self.output_of("print(1)", context={}, args=[], env={}, stdin="", detail=False), "1\n")


class FilesMode(ServiceTest):
    """A whole project, laid out at the working directory."""

    def test_modules_and_data_are_found(self):
        result = self.run_files({
            "main.py": "from pkg.mod import f\nprint(f(), __file__.endswith('/main.py'), __name__)",
            "pkg/__init__.py": "", "pkg/mod.py": "def f(): return open('data/deep/x.txt').read()",
            "data/deep/x.txt": {"content": "aGk=", "encoding": "base64"}}, "main.py")
        self.assertEqual((result["exit_code"], result["stdout"], result["stderr"]), (0, "hi True __main__\n", ""))

    def test_an_entry_point_in_a_folder_finds_its_neighbours_and_runs_in_the_working_directory(self):
        result = self.run_files({"app/run.py": "import os, near; print(near.x, os.path.exists('app/run.py'))",
                                 "app/near.py": "x = 5"}, "app/run.py")
        self.assertEqual((result["stdout"], result["stderr"]), ("5 True\n", ""))

    def test_a_backslash_counts_as_a_slash(self):
        result = self.run_files({"app\\run.py": "import os; print(os.listdir('app'))"}, "app\\run.py")
        self.assertEqual(result["stdout"], "['run.py']\n")

    def test_tracebacks_name_the_project_s_files(self):
        result = self.run_files({"main.py": "import broken", "broken.py": "1/0"}, "main.py")
        self.assertEqual(result["exit_code"], 1)
        self.assertRegex(result["stderr"], r'main\.py", line 1, in <module>\n    import broken\n')
        self.assertRegex(result["stderr"], r'broken\.py", line 1, in <module>\n    1/0\n')

    def test_other_fields_apply_too(self):
        result = self.run_files({"m.py": "import os, sys; print(sys.argv, sys.stdin.read(), os.environ['K'])"}, "m.py",
                                args=["a"], stdin="in", env={"K": "v"}, timeout_s=5)
        self.assertEqual(result["stdout"], "['m.py', 'a'] in v\n")

    def test_files_belong_to_the_script_and_are_writable(self):
        result = self.run_files({"m.py": "open('d.txt', 'a').write('+')\nprint(open('d.txt').read())", "d.txt": "a"},
                                "m.py")
        self.assertEqual(result["stdout"], "a+\n")

    def test_a_project_may_bring_its_own_output_and_input_folders(self):
        result = self.run_files({"m.py": "print(open('input/x').read())", "input/x": "1", "output/given.txt": "2"},
                                "m.py")
        self.assertEqual((result["stdout"], result["artifacts"]), ("1\n", {"given.txt": "2"}))


class Headers(ServiceTest):
    """What every answer carries."""

    def test_every_answer_has_an_id_of_its_own_and_timings(self):
        answers = [self.service.post({"script": "pass"}), self.service.post({"script": "pass"}),
                   self.service.post({}), self.service.request("GET", "/api/health"),
                   self.service.request("GET", "/nowhere"), self.service.request("GET", "/api/run")]
        ids = [answer.headers["X-Request-Id"] for answer in answers]
        self.assertEqual(len(set(ids)), len(answers), ids)
        for answer in answers:
            self.assertRegex(answer.headers["Server-Timing"] or "",
                             r"^queue;dur=[\d.]+, setup;dur=[\d.]+, run;dur=[\d.]+, collect;dur=[\d.]+$")

    def test_the_timing_of_a_run_is_in_milliseconds(self):
        answer = self.service.post({"script": "import time; time.sleep(0.25)"})
        times = dict(part.split(";dur=") for part in answer.headers["Server-Timing"].split(", "))
        self.assertGreaterEqual(float(times["run"]), 250)

    def test_the_readiness_probe_of_a_host_is_answered(self):
        self.assertEqual(self.service.request("GET", "/").status, 200)


class Lifetime(ServiceTest):
    """Nothing of a run is left for the next one."""

    workers = 1

    def test_the_working_directory_is_fresh_for_each_run(self):
        listing = "import os, tempfile; t = tempfile.gettempdir(); print(sorted(os.listdir('.')), os.listdir(t))"
        first = self.output_of(listing + "; open('mine', 'w'); open(t + '/mine', 'w')")
        self.assertEqual(first, self.output_of(listing))
        self.assertTrue(first.startswith("['input', 'output', 'script.py'] "), first)

    def test_a_process_left_behind_ends_with_its_job(self):
        self.output_of(script("""
            import subprocess, sys
            subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], start_new_session=True)
            """))
        self.service.check_nothing_leaked()


if __name__ == "__main__":
    main()
