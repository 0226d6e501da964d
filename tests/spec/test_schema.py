"""The JSON Schema accepts what the reader accepts, and names the options of plugins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from parplan.registry import Registry
from parplan.spec.schema import example_spec, spec_schema
from parplan.spec.sections import parse_spec

SPECS = sorted((Path(__file__).parents[2] / "examples" / "specs").glob("*.yaml"))


@pytest.fixture(scope="module")
def schema(registry: Registry) -> dict[str, Any]:
    return spec_schema(registry)


def _errors(schema: dict[str, Any], text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema)
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


def test_schema_is_valid_with_and_without_plugins(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator.check_schema(spec_schema())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_specs_that_come_with_parplan_fit(schema: dict[str, Any], path: Path) -> None:
    assert _errors(schema, path.read_text()) == []
    assert _errors(spec_schema(), path.read_text()) == []


def test_first_spec_fits_and_is_read(schema: dict[str, Any]) -> None:
    assert _errors(schema, example_spec()) == []
    assert parse_spec(example_spec()).name == "first"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: first", "nmae: first"),
        ("microbatches: 4", "microbatches: many"),
        ("microbatches: 4", "microbatches: 4.5"),
        ("[makespan]", "[makspan]"),
        ("[makespan]", "makespan"),
        ("kind: training", "kind: trainin"),
        ("consumers: [update]", "consumers: update"),
        ("bytes: 64 MB", "byte: 64 MB"),
        ("time_limit_s: 30 s", "solver: nothing"),
        ("name: h0,", ""),
        ("objectives:", "constraints: [{weights: {replica: true}}]\nobjectives:"),
    ],
)
def test_schema_refuses_what_the_reader_refuses(schema: dict[str, Any], old: str, new: str) -> None:
    assert old in example_spec()
    assert _errors(schema, example_spec().replace(old, new)) != []


def test_keys_and_units_are_described(schema: dict[str, Any]) -> None:
    device = schema["$defs"]["DeviceSpec"]
    assert device["required"] == ["name"]
    assert "80 GB" in str(device["properties"]["memory_bytes"])
    assert "document" not in schema["properties"]
    assert "node" in device["properties"]["node"]["description"]
    assert schema["$defs"]["WorkloadSpec"]["properties"]["microbatches"]["default"] == 1
