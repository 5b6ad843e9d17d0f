"""The OpenAPI document against the service: whatever is sent, the answers are as it says."""

import jsonschema_rs
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from innomaint_pipeline_tests.api.conftest import Client

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 8


def test_the_document_names_the_security_the_errors_and_an_example_of_every_answer(client: Client) -> None:
    document = client.get("/openapi.json").json

    assert document["security"] == [{"token": []}, {"session": []}]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answers = operation["responses"]
            assert operation["description"], (method, path)
            assert "422" not in answers
            assert {"400", "401", "429", "503"} <= set(answers), (method, path)
            good = [answer for status, answer in answers.items() if status in {"200", "202"}]
            for answer in good:
                assert all("example" in content for content in answer["content"].values()), (method, path)


UNTYPED = {"AssetValueAnswer.value", "AssetDetailAnswer.raw_answer"}
"""What the vendor or the workbook decides the type of."""


def test_every_field_of_every_answer_has_a_type_and_every_example_is_one(client: Client) -> None:
    document = client.get("/openapi.json").json
    schemas = document["components"]["schemas"]
    kinds = {"type", "$ref", "anyOf", "const", "enum"}
    untyped = {
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, described in schema.get("properties", {}).items()
        if not kinds & set(described)
    }
    assert untyped == UNTYPED
    for methods in document["paths"].values():
        for operation in methods.values():
            for answer in operation["responses"].values():
                for content in answer.get("content", {}).values():
                    if "schema" in content and "$ref" in content["schema"]:
                        schema = {**content["schema"], "components": document["components"]}
                        jsonschema_rs.validate(schema, content["example"])


def test_whatever_is_sent_the_answers_are_those_of_the_document(client: Client) -> None:
    document = client.get("/openapi.json").json
    schema = schemathesis.openapi.from_dict(document)
    tried = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path == "/sync/session":
            continue  # its wrong tokens would close the door for the others; `test_access` knocks there

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def send(case: schemathesis.Case) -> None:
            answer = case.call(
                base_url=f"http://127.0.0.1:{client.port}",
                headers={**client.headers, "Prefer": "respond-async"},
            )
            case.validate_response(answer, checks=CHECKS)

        send()
        tried.add((operation.method.upper(), operation.path))
    assert len(tried) == sum(len(methods) for methods in document["paths"].values()) - 2
