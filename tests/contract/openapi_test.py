"""Role: GET /openapi.json: that it is OpenAPI 3.1, that the service does what it says, and says what the service does.
Callers: meson test, in the modes that tests/meson.build names.
"""
import copy
import http.client
import json
import pathlib
import re
import socket
import unittest

import jsonschema
from contract import ServiceTest, main
from openapi_schema import DEFS, OPENAPI_31
from openapi_spec import applies_to, fields_of_objects
from service import Answer, Service, eventually

Validator = jsonschema.Draft202012Validator
TREE = pathlib.Path(__file__).resolve().parents[2]


def faults(document):
    """What is wrong with an OpenAPI document: against the specification, in its schemas, in its references."""
    found = [f"{list(error.absolute_path)}: {error.message}" for error in Validator(OPENAPI_31).iter_errors(document)]
    operations, schemes = [], document["components"].get("securitySchemes", {})

    def walk(value, path):
        if isinstance(value, list):
            for index, item in enumerate(value):
                walk(item, [*path, index])
        if not isinstance(value, dict):
            return
        if "$ref" in value:
            try:
                jsonschema.RefResolver("", document).resolve(value["$ref"])
            except jsonschema.RefResolutionError as error:
                found.append(f"{path}: {error}")
        if path and (path[-1] == "schema" or path[:-1] == ["components", "schemas"]):
            try:
                Validator.check_schema(value)
            except jsonschema.SchemaError as error:
                found.append(f"{path}: {error.message}")
        if "operationId" in value:
            operations.append(value["operationId"])
        for requirement in value.get("security", []) if "operationId" in value else []:
            found.extend(f"{path}: no scheme {name}" for name in requirement if name not in schemes)
        for name, item in value.items():
            walk(item, [*path, name])
    walk(document, [])
    found += [f"operationId {name}: twice" for name in set(operations) if operations.count(name) > 1]
    return found


class Schema(unittest.TestCase):
    """What the description is checked with says of each object what the published specification says."""

    # Names of ours that are not the specification's.
    NAMES = {"path_item": "pathItem", "request_body": "requestBody", "media_type": "mediaType", "header": "parameter"}
    NOT_OF_HEADERS = {"name", "in"}  # 4.8.21: given by the key in the map of headers, and always "header"
    MAPS = {"content", "security_requirement", "schema", "security_scheme"}  # no fixed fields, or as below

    def compare(self, schema, fields):
        self.assertLessEqual(set(schema["properties"]), set(fields), "fields that the specification does not have")
        needed = {name for name, (required, _) in fields.items() if required}
        self.assertLessEqual(needed, set(schema["required"]), "fields that the specification requires")

    def test_fields_and_what_is_required_are_the_specification_s(self):
        published = fields_of_objects()
        self.compare(OPENAPI_31, published["oas"])
        for name, schema in DEFS.items():
            if name in self.MAPS:
                continue
            with self.subTest(name):
                fields = dict(published.get(self.NAMES.get(name, name), {}))
                if name == "header":
                    fields = {field: row for field, row in fields.items() if field not in self.NOT_OF_HEADERS}
                self.assertTrue(fields or schema["patternProperties"].keys() - {"^x-"}, "not in the specification")
                self.compare(schema, fields)

    def test_those_of_security_schemes_too(self):
        for schema in DEFS["security_scheme"]["oneOf"]:
            kind = schema["properties"]["type"]["const"]
            with self.subTest(kind):
                self.compare(schema, {name: row for name, row in fields_of_objects()["securityScheme"].items()
                                      if applies_to(row[1]) <= {kind}})


class Documented(ServiceTest):
    """A service, its description, and answers checked against it."""

    workers = 1

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        answer = cls.service.request("GET", "/openapi.json")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json"), answer
        cls.document = answer.json

    def resolve(self, item):
        while "$ref" in item:
            item = jsonschema.RefResolver("", self.document).resolve(item["$ref"])[1]
        return item

    def responses(self, path, method):
        return self.document["paths"][path][method]["responses"]

    def schema(self, name):
        return self.document["components"]["schemas"][name]

    def matches(self, schema, value):
        resolver = jsonschema.RefResolver("", self.document)
        return [error.message for error in Validator(schema, resolver=resolver).iter_errors(value)]

    def check(self, path, method, answer, service=None):
        """An answer against the response of its status: headers, media type, body. Returns the key of that response."""
        described = self.responses(path, method)
        key = str(answer.status) if str(answer.status) in described else f"{answer.status // 100}XX"
        self.assertIn(key, described, answer)
        response = self.resolve(described[key])
        for name, header in response.get("headers", {}).items():
            self.assertIn(name, answer.headers, answer)
            self.assertEqual(self.matches(self.resolve(header)["schema"], answer.headers[name]), [])
        kind = answer.headers["Content-Type"].split(";")[0]
        self.assertIn(kind, response["content"])
        body = answer.json if kind == "application/json" else answer.body.decode()
        self.assertEqual(self.matches(response["content"][kind]["schema"], body), [], answer)
        return key


class Description(Documented):
    """The document itself."""

    def test_it_is_openapi_3_1(self):
        self.assertEqual(faults(self.document), [])

    def test_the_check_finds_what_is_wrong(self):
        def broken(change):
            document = copy.deepcopy(self.document)
            change(document)
            return faults(document)
        run = ("paths", "/api/run", "post")

        def at(document, *path):
            for name in path:
                document = document[name]
            return document
        for change in (lambda d: d.pop("info"), lambda d: d.update(openapi="3.0.0"), lambda d: d.update(path={}),
                       lambda d: d["paths"].update({"no-slash": {}}), lambda d: at(d, *run).pop("responses"),
                       lambda d: at(d, *run, "responses").update({"20": {"description": "x"}}),
                       lambda d: at(d, *run, "responses", "200").pop("description"),
                       lambda d: at(d, *run).update(security=[{"nobody": []}]),
                       lambda d: at(d, *run).update(operationId="health"),
                       lambda d: at(d, *run, "parameters", 0).update({"in": "path"}),
                       lambda d: at(d, "components", "schemas", "Error").update(type="text"),
                       lambda d: at(d, "components", "schemas", "Run", "properties").update(
                           limit={"$ref": "#/components/schemas/Nowhere"})):
            self.assertNotEqual(broken(change), [])

    def test_no_placeholder_is_left_and_limits_are_those_of_the_service(self):
        self.assertNotIn("@", json.dumps(self.document))
        fields = self.schema("RunRequest")["properties"]
        self.assertEqual((fields["script"]["maxLength"], fields["context"]["maxProperties"], fields["args"]["maxItems"],
                          fields["timeout_s"]["default"]), (256 * 1024, 20, 64, 60))
        self.assertEqual(self.document["info"]["version"], self.service.health()["version"])

    def test_limits_are_followed_by_document_and_service_alike(self):
        with Service("--script-bytes=100", "--max-timeout=9", "--files=2", workers=1) as service:
            schemas = service.request("GET", "/openapi.json").json["components"]["schemas"]
            fields = schemas["RunRequest"]["properties"]
            self.assertEqual((fields["script"]["maxLength"], fields["files"]["maxProperties"],
                              fields["timeout_s"]["default"]), (100, 2, 9))
            self.assertEqual(service.post({"script": "#" * 100}).status, 200)
            self.assertEqual(service.post({"script": "#" * 101}).status, 413)
            limits = service.post({"script": "", "timeout_s": 50, "detail": True}).json["run"]["limits"]
            described = schemas["Run"]["properties"]["limits"]["properties"]
            self.assertEqual((limits["timeout_s"], described["timeout_s"]["maximum"]), (9, 9))

    def test_the_readme_lists_the_same_fields_and_paths(self):
        readme = (TREE / "README.md").read_text()
        table = readme[readme.index("### Fields"):readme.index("### The answer")]
        self.assertEqual(sorted(re.findall(r"^\| `(\w+)` \|", table, re.M)),
                         sorted(self.schema("RunRequest")["properties"]))
        table = readme[readme.index("### Endpoints"):readme.index("### Metrics")]
        self.assertEqual(sorted(re.findall(r"^\| `([A-Z]+ \S+)` \|", table, re.M)),
                         sorted(f"{method.upper()} {path}" for path, item in self.document["paths"].items()
                                for method in item))


class Fields(Documented):
    """Every documented field is one that the service reads, and takes the values that its schema takes."""

    EXAMPLES = {
        "script": ["print(1)"],
        "timeout_s": [5, 1.5, "7", None],
        "context": [{}, {"a.csv": "1"}, {"a.bin": {"content": "AAE=", "encoding": "base64"}}, None],
        "files": [{"main.py": "print(1)", "deep/x.py": {"content": ""}}],
        "entry_point": ["main.py"],
        "stdin": ["x", {"content": "eA==", "encoding": "base64"}, {"content": "x", "encoding": None}, None],
        "args": [[], ["a", ""], None],
        "env": [{}, {"A_1": "x"}, None],
        "detail": [True, False, None],
    }
    WRONG = {
        "script": [5, [], "x" * (256 * 1024 + 1)],
        "timeout_s": [0, -1, [], True],
        "context": [[], {".hidden": ""}, {"a/b": ""}, {"": ""}, {"a": 5}, {"a": {}},
                    {"a": {"content": "", "encoding": "utf-7"}}, {f"f{i}": "" for i in range(21)}],
        "files": [[], {}, {"": ""}, {"a": 5}, {f"f{i}": "" for i in range(21)}],
        "entry_point": [5, "main.txt"],
        "stdin": [5, [], {"encoding": "utf-8"}],
        "args": ["a", [5], ["\0"], [""] * 65],
        "env": [[], {"1A": ""}, {"A": 5}, {"A": "\0"}, {f"V{i}": "" for i in range(65)}],
        "detail": ["yes", 1],
    }

    def request_with(self, name, value):
        base = {"files": {"main.py": ""}, "entry_point": "main.py"} if name in ("files", "entry_point") else \
            {"script": ""}
        return {**base, name: value}

    def test_the_lists_cover_every_field(self):
        for examples in (self.EXAMPLES, self.WRONG):
            self.assertEqual(set(examples), set(self.schema("RunRequest")["properties"]))

    def test_what_the_schema_takes_the_service_takes(self):
        for name, values in self.EXAMPLES.items():
            for value in values:
                with self.subTest(name, value=value):
                    body = self.request_with(name, value)
                    self.assertEqual(self.matches(self.schema("RunRequest"), body), [])
                    answer = self.service.post(body)
                    self.assertEqual(self.check("/api/run", "post", answer), "200", answer)

    def test_what_the_schema_refuses_the_service_refuses_by_the_field_s_name(self):
        for name, values in self.WRONG.items():
            for value in values:
                with self.subTest(name, value=repr(value)[:60]):
                    body = self.request_with(name, value)
                    self.assertNotEqual(self.matches(self.schema("RunRequest"), body), [])
                    answer = self.service.post(body)
                    self.assertIn(self.check("/api/run", "post", answer), ("400", "413"))
                    self.assertIn(name, answer.json["error"])


class Statuses(Documented):
    """Every documented answer is seen from a real service, and is what it is said to be."""

    arguments = ["--queue=1", "--artifacts=1", "--body-bytes=1M"]

    def raw(self, request):
        """The answer to bytes that no client library would send."""
        with socket.create_connection(("127.0.0.1", self.service.port), 30) as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return Answer(response)

    def head(self, line="POST /api/run HTTP/1.1", *headers):
        return "\r\n".join([line, "Host: localhost", *headers, "", ""]).encode()

    def unauthorized(self):
        with Service(env={"CODERUNNER_API_KEY": "k"}, workers=1) as service:
            for scheme in ({"x-functions-key": "k"}, {"Authorization": "Bearer k"}):
                self.assertEqual(service.post({"script": ""}, headers=scheme).status, 200)
            self.assertEqual(service.post({"script": ""}, "/api/run?code=k").status, 200)
            return service.post({"script": ""})

    def busy(self):
        clients = []
        for waiting in (0, 1):
            clients.append(self.service.connect())
            clients[-1].request("POST", "/api/run", b'{"script": "while True: pass"}')
            self.service.wait_busy()
            eventually(lambda: self.service.health()["queue"] == waiting, f"{waiting} that wait")
        answer = self.service.post({"script": ""})
        for client in clients:
            client.close()
        eventually(self.service.idle, "an idle service", 30)
        return answer

    def draining(self):
        with Service(workers=1) as service:
            client = service.connect()
            client.request("POST", "/api/run", b'{"script": "import time; time.sleep(2)"}')
            service.wait_busy()
            service.process.terminate()
            health = eventually(lambda: (answer := service.request("GET", "/api/health")).status == 503 and answer,
                                "503", 10)
            self.assertEqual(self.check("/api/health", "get", health), "503")
            answer = service.post({"script": ""})
            self.assertEqual(client.getresponse().status, 200)
            client.close()
            service.wait_end()
            return answer

    def test_each_status_of_a_run(self):
        post = self.service.post
        large = "for i in range(2): open(f'output/{i}', 'w')"
        seen = {self.check("/api/run", "post", answer) for answer in (
            post({"script": "print(1)", "detail": True}), post({"script": "1/0", "detail": True}),
            post({"script": "open('output/a', 'wb').write(b'\\0')"}),
            self.service.post_raw("print(1)", "?timeout_s=5"),
            post({}), self.unauthorized(), post({"script": ""}, headers={"Origin": "http://evil.example"}),
            post({"script": large}), post({"script": large, "detail": True}), self.busy(), self.draining(),
            self.raw(self.head()),
            self.raw(self.head("POST /api/run HTTP/1.1", "Content-Length: 2000000")),
            self.raw(self.head("POST /api/run?x=" + "x" * 9000 + " HTTP/1.1")),
            self.raw(self.head("POST /api/run HTTP/1.1", "X: " + "x" * 40000)),
            self.raw(self.head("POST /api/run HTTP/1.1", "Content-Length: 2", "Content-Encoding: gzip") + b"{}"),
            self.raw(self.head("POST /api/run HTTP/1.1", "Content-Length: 2", "Expect: magic") + b"{}"),
            self.raw(self.head("POST /api/run HTTP/1.1", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
            self.raw(self.head("POST /api/run HTTP/3.0", "Content-Length: 0")))}
        # 408 takes as long as a client may take: the tests of the server itself see it (tests/unit/http_test.cc).
        self.assertEqual(seen | {"408"}, set(self.responses("/api/run", "post")))

    def test_each_media_type_of_a_run_is_had_by_asking_for_it(self):
        kinds = self.resolve(self.responses("/api/run", "post")["200"])["content"]
        self.assertEqual(len(kinds), 3)
        for kind in kinds:
            answer = self.service.post({"script": "print('live')"}, headers={"Accept": kind})
            self.assertEqual(answer.headers["Content-Type"].split(";")[0], kind)
            self.check("/api/run", "post", answer)
            self.assertIn(b"live", answer.body)  # the end of the line may be a write of its own
            eventually(self.service.idle, "an idle service", 30)

    def test_the_other_pages(self):
        for path, item in self.document["paths"].items():
            for method in item:
                with self.subTest(path):
                    if method == "get":
                        self.assertEqual(self.check(path, method, self.service.request("GET", path)), "200")
                        self.assertEqual(self.service.request("HEAD", path).status, 200)
                    wrong = self.service.request("PUT", path, b"")
                    self.assertEqual((wrong.status, "Allow" in wrong.headers), (405, True))

    def test_what_is_not_described_is_not_there(self):
        for path in ("/api", "/api/run/", "/openapi.yaml", "/docs"):
            self.assertNotIn(path, self.document["paths"])
            self.assertEqual(self.service.request("GET", path).status, 404)


if __name__ == "__main__":
    main()
