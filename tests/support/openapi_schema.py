"""Role: what an OpenAPI 3.1 document must look like, as a JSON Schema of our own after the specification's text
(spec.openapis.org/oas/v3.1.0), for the objects that ours uses. A test compares the two.
Callers: tests/contract/openapi_test.py.
Law: an object of the specification that is not listed here is refused, so that a new one is looked up first. Schema
objects are JSON Schema 2020-12 and are checked against that by python3-jsonschema.
"""

STRING = {"type": "string"}
TEXT = {"type": "string", "minLength": 1}


def fixed(needed=(), patterns=None, /, **fields):
    """An object with these fields and no other: names with their schemas; `x-` extensions are allowed everywhere."""
    names = {name.rstrip("_").replace("__", "$"): schema for name, schema in fields.items()}
    return {"type": "object", "properties": names, "required": list(needed),
            "patternProperties": {"^x-": True, **(patterns or {})}, "additionalProperties": False}


def map_of(kind, names=".*"):
    return {"type": "object", "propertyNames": {"pattern": names}, "additionalProperties": ref(kind)}


def ref(kind):
    return {"$ref": f"#/$defs/{kind}"}


def or_reference(kind):
    """The object itself, or a Reference Object (4.8.23) in its place."""
    return {"if": {"type": "object", "required": ["$ref"]}, "then": ref("reference"), "else": ref(kind)}


COMPONENT_NAME = r"^[a-zA-Z0-9._-]+$"  # 4.8.7

DEFS = {
    "reference": fixed(["$ref"], __ref=STRING, summary=STRING, description=STRING),
    "info": fixed(["title", "version"], title=TEXT, version=TEXT, summary=STRING, description=STRING,
                  termsOfService=STRING, license=ref("license")),
    # identifier and url exclude each other (4.8.4)
    "license": {**fixed(["name"], name=TEXT, identifier=STRING, url=STRING),
                "not": {"required": ["identifier", "url"]}},
    "server": fixed(["url"], url=STRING, description=STRING),
    "tag": fixed(["name"], name=TEXT, description=STRING),
    "paths": fixed((), {"^/": ref("path_item")}),
    "path_item": fixed(summary=STRING, description=STRING,
                       **{method: ref("operation") for method in
                          ("get", "put", "post", "delete", "options", "head", "patch", "trace")}),
    "operation": fixed(["responses"], tags={"type": "array", "items": STRING}, summary=STRING, description=STRING,
                       operationId=TEXT, parameters={"type": "array", "items": or_reference("parameter")},
                       requestBody=or_reference("request_body"), responses=ref("responses"),
                       security={"type": "array", "items": ref("security_requirement")},
                       deprecated={"type": "boolean"}),
    # path parameters must be required (4.8.12)
    "parameter": {**fixed(["name", "in", "schema"], name=TEXT, in_={"enum": ["query", "header", "path", "cookie"]},
                          description=STRING, required={"type": "boolean"}, schema=ref("schema"), example=True),
                  "if": {"properties": {"in": {"const": "path"}}},
                  "then": {"required": ["required"], "properties": {"required": {"const": True}}}},
    "request_body": fixed(["content"], description=STRING, content=ref("content"), required={"type": "boolean"}),
    "content": map_of("media_type", r"^[^/\s]+/[^/\s]+$"),
    "media_type": {**fixed(schema=ref("schema"), example=True, examples=map_of("example")),
                   "not": {"required": ["example", "examples"]}},
    "example": fixed(summary=STRING, description=STRING, value=True),
    # at least one answer (4.8.16)
    "responses": {**fixed((), {"^[1-5](?:[0-9]{2}|XX)$": or_reference("response")},
                          default=or_reference("response")), "minProperties": 1},
    "response": fixed(["description"], description=TEXT, headers={"type": "object",
                      "additionalProperties": or_reference("header")}, content=ref("content")),
    "header": fixed(["schema"], description=STRING, required={"type": "boolean"}, schema=ref("schema")),
    "components": fixed(**{kind: {"type": "object", "propertyNames": {"pattern": COMPONENT_NAME},
                                  "additionalProperties": or_reference(item)} for kind, item in (
                                      ("responses", "response"), ("parameters", "parameter"), ("headers", "header"),
                                      ("requestBodies", "request_body"), ("securitySchemes", "security_scheme"))},
                        schemas={"type": "object", "propertyNames": {"pattern": COMPONENT_NAME},
                                 "additionalProperties": ref("schema")}),
    "security_scheme": {"oneOf": [
        fixed(["type", "in", "name"], type={"const": "apiKey"}, in_={"enum": ["query", "header", "cookie"]}, name=TEXT,
              description=STRING),
        fixed(["type", "scheme"], type={"const": "http"}, scheme=TEXT, bearerFormat=STRING, description=STRING)]},
    "security_requirement": {"type": "object", "additionalProperties": {"type": "array", "items": STRING}},
    "schema": {"type": ["object", "boolean"]},
}

OPENAPI_31 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **fixed(["openapi", "info"], openapi={"type": "string", "pattern": r"^3\.1\.[0-9]+$"}, info=ref("info"),
            jsonSchemaDialect=STRING, servers={"type": "array", "items": ref("server")}, paths=ref("paths"),
            components=ref("components"), security={"type": "array", "items": ref("security_requirement")},
            tags={"type": "array", "items": ref("tag")}),
    "anyOf": [{"required": ["paths"]}, {"required": ["components"]}],
    "$defs": DEFS,
}
