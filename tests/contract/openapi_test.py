"""Role: GET /openapi.json: that it is OpenAPI 3.1, has the service's limits, and the fields that the service reads.
Callers: meson test, in the modes that tests/meson.build names.
"""
import copy
import json
import pathlib
import re
import unittest

import jsonschema
from contract import main
from openapi_document import Documented, Validator
from openapi_schema import DEFS, OPENAPI_31
from openapi_spec import applies_to, fields_of_objects
from service import Service

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


if __name__ == "__main__":
    main()
