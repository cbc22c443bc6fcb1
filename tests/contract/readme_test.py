"""Role: what the README shows is what happens: its requests get its answers, its packages are those of the one list.
Callers: meson test, once a mode of starting the service.
"""
import json
import pathlib
import re
import shlex
import unittest

from contract import ServiceTest, main

TREE = pathlib.Path(__file__).resolve().parents[2]
README = (TREE / "README.md").read_text()


def blocks():
    """Fenced blocks in order, as (language, text)."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)


def examples():
    """Each curl command that is followed by the JSON that it answers."""
    found = blocks()
    return [(text, answer) for (kind, text), (next_kind, answer) in zip(found, found[1:])
            if kind == "sh" and text.startswith("curl ") and text.count("\n") == 1 and next_kind == "json"]


def listed(section):
    """The packages of one section of scripts/packages.txt."""
    text = (TREE / "scripts" / "packages.txt").read_text()
    lines = re.search(rf"^\[{section}\]$(.*?)(?=^\[|\Z)", text, re.M | re.S).group(1).splitlines()
    return sorted(filter(None, (line.partition("#")[0].strip() for line in lines)))


class Examples(ServiceTest):
    """curl commands and their answers."""

    def ask(self, command):
        words = shlex.split(command)
        self.assertEqual(words[0], "curl")
        method, headers, body, url = "GET", {}, None, None
        rest = iter(words[1:])
        for word in rest:
            if word == "-s":
                continue
            elif word == "-H":
                name, _, value = next(rest).partition(": ")
                headers[name] = value
            elif word in ("-d", "--data-binary"):
                method, body = "POST", next(rest).encode()
            else:
                self.assertFalse(word.startswith("-"), f"an option that this test does not know: {word}")
                url = word
        path = re.fullmatch(r"(?:http://)?localhost:7071(/.*)", url).group(1)
        return self.service.request(method, path, body, headers)

    def test_each_request_gets_the_answer_shown(self):
        self.assertGreaterEqual(len(examples()), 3)
        for command, answer in examples():
            with self.subTest(command[:100]):
                got = self.ask(command).json
                got.pop("run", None)
                shown = json.loads(answer)
                shown.pop("run", None)
                self.assertEqual(got, shown)


class Packages(unittest.TestCase):
    """One list of packages."""

    def test_the_readme_names_the_packages_of_the_list(self):
        lines = [sorted(line.split()) for line in
                 re.findall(r"^apt-get install -y --no-install-recommends (.*)$", README, re.M)]
        self.assertEqual(lines, [listed("build"), listed("test"), listed("package")])


if __name__ == "__main__":
    main()
