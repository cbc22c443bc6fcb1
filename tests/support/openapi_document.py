"""Role: what the suites on GET /openapi.json share: a service's description, and its answers checked against it.
Callers: tests/contract/openapi_test.py, openapi_statuses_test.py.
"""
import jsonschema
from contract import ServiceTest

Validator = jsonschema.Draft202012Validator


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

    def check(self, path, method, answer):
        """An answer against the response of its status. Returns the key of that response."""
        described = self.responses(path, method)
        key = str(answer.status) if str(answer.status) in described else f"{answer.status // 100}XX"
        self.assertIn(key, described, answer)
        self.check_response(self.resolve(described[key]), answer)
        return key

    def check_response(self, response, answer):
        """Headers, media type, body."""
        for name, header in response.get("headers", {}).items():
            self.assertIn(name, answer.headers, answer)
            self.assertEqual(self.matches(self.resolve(header)["schema"], answer.headers[name]), [])
        kind = answer.headers["Content-Type"].split(";")[0]
        self.assertIn(kind, response["content"])
        body = answer.json if kind == "application/json" else answer.body.decode()
        self.assertEqual(self.matches(response["content"][kind]["schema"], body), [], answer)
