"""A spec file becomes plain attrs classes, with overrides and located errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from parplan.errors import InputError
from parplan.problem import Rule
from parplan.spec.sections import DEFAULT_COSTS, Spec, load_spec, parse_spec
from parplan.workload import WorkloadKind

SMALL = """\
model:
  operators:
    - {name: a, seconds: 2 ms}
    - {name: b, seconds: {fast: 1, slow: 2 s}}
  tensors:
    - {name: t, producer: a, consumers: [b], bytes: 4 MB}
cluster:
  devices:
    - {name: g0, memory_bytes: 80 GB}
"""


def test_what_is_not_said_has_defaults() -> None:
    spec = parse_spec(SMALL)
    assert spec.workload.kind is WorkloadKind.TRAINING
    assert spec.costs == DEFAULT_COSTS
    assert spec.objectives == (Rule("makespan"),)
    assert (spec.strategies, spec.constraints, spec.tick_s) == ((), (), None)


def test_quantities_are_read_with_units() -> None:
    spec = parse_spec(SMALL + "tick_s: 1 us\nsearch: {time_limit_s: 2 min}\n")
    assert spec.cluster.devices[0].memory_bytes == 80 * 10**9
    assert spec.model.operators[0].seconds == {"*": 0.002}
    assert spec.model.operators[1].seconds == {"fast": 1.0, "slow": 2.0}
    assert spec.model.tensors[0].bytes == 4 * 10**6
    assert spec.tick_s == 1e-6
    assert spec.search.time_limit_s == 120.0


def test_plugins_are_listed_by_name_or_with_options() -> None:
    spec = parse_spec(SMALL + "constraints: [memory, {cap: {watts: 700}}, {plain: }]\n")
    assert spec.constraints == (Rule("memory"), Rule("cap", {"watts": 700}), Rule("plain"))


def test_name_of_a_spec_is_that_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    assert load_spec(tmp_path / "small.yaml").name == "small"
    assert load_spec(str(tmp_path / "small.yaml"), ["name=mine"]).name == "mine"


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "small.json").write_text(json.dumps(yaml.safe_load(SMALL), indent="\t"))
    assert load_spec(tmp_path / "small.yaml") == load_spec(tmp_path / "small.json")


@pytest.mark.parametrize(
    ("override", "get", "value"),
    [
        ("workload.microbatches=8", lambda s: s.workload.microbatches, 8),
        ("workload={microbatches: 3}", lambda s: s.workload.microbatches, 3),
        ("cluster.devices[0].memory_bytes=40 GiB", lambda s: s.cluster.devices[0].memory_bytes,
         40 * 2**30),
        ("cluster.devices[0].name= x ", lambda s: s.cluster.devices[0].name, "x"),
        ("model.operators[1].seconds.slow=5 s", lambda s: s.model.operators[1].seconds["slow"], 5),
        ("objectives=[a, {b: {c: =1}}]", lambda s: s.objectives,
         (Rule("a"), Rule("b", {"c": "=1"}))),
    ],
)  # fmt: skip
def test_override_replaces_a_value(override: str, get: object, value: object) -> None:
    assert callable(get)
    assert get(parse_spec(SMALL, [override])) == value


def test_later_override_wins_and_the_spec_knows_both() -> None:
    spec = parse_spec(SMALL, ["search.seed=1", "search.seed=2", "name=n"])
    assert spec.search.seed == 2
    assert spec.overrides == {"search.seed": "search.seed=2", "name": "name=n"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("workload.microbatchs=8", "unknown key 'microbatchs'; did you mean 'microbatches'"),
        ("nothing", "write key.path=value"),
        ("a..b=1", "write key.path=value"),
        ("a[x]=1", "write key.path=value"),
        ("=1", "write key.path=value"),
        ("search.seed=", "gives no value"),
        ("search.seed=[", "is not YAML"),
        ("search.seed=!!python/name:os.system x", "is not allowed"),
        ("cluster.devices[1].name=x", "has 1 entries, so [1] is not there"),
        ("cluster[0]=x", "is no list"),
        ("cluster.devices.name=x", "is a list; write [0]"),
        ("model.operators[0].name.x=1", "so it has no 'x'"),
        ("document=1", "unknown key 'document'"),
        ("overrides=1", "unknown key 'overrides'"),
    ],
)
def test_wrong_override_is_named(override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_spec(SMALL, [override])
    assert message in str(caught.value)
    assert str(caught.value).startswith("--set")


def test_override_that_may_be_at_fault_is_named() -> None:
    with pytest.raises(InputError) as caught:
        parse_spec(SMALL + "workload: {microbatches: 4}\n", ["workload.microbatches=0"])
    assert (caught.value.key, caught.value.line) == ("workload", 10)
    assert "(with --set workload.microbatches=0)" in str(caught.value)


def test_error_of_the_file_is_not_blamed_on_an_override() -> None:
    with pytest.raises(InputError) as caught:
        parse_spec(SMALL + "serch: {}\n", ["search.seed=1"])
    assert caught.value.line == 10
    assert "did you mean 'search'" in str(caught.value)


def test_later_error_is_located_by_the_name_of_its_rule() -> None:
    spec = parse_spec(SMALL + "constraints:\n  - memory\n  - cap:\n      watts: 5\n")
    error = spec.locate(InputError("too low", key="constraints.cap.watts"))
    assert (error.key, error.line) == ("constraints[1].cap.watts", 13)
    error = spec.locate(InputError("too low", key="constraints.capital"))
    assert (error.key, error.line) == ("constraints.capital", 10)


def test_spec_is_plain_data_that_can_be_compared() -> None:
    assert parse_spec(SMALL) == parse_spec("# a comment\n" + SMALL)
    assert isinstance(parse_spec(SMALL), Spec)
