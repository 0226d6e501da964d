"""Specs that cannot be used, each with the one message that it must give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

GOOD = """\
name: good
model:
  operators:
    - {name: a, seconds: 2 ms}
    - {name: b, seconds: 3 ms}
  tensors:
    - {name: t, producer: a, consumers: [b], bytes: 4 MB}
cluster:
  devices:
    - {name: g0, memory_bytes: 80 GB}
    - {name: g1, memory_bytes: 80 GB}
  links:
    - {source: g0, target: g1, bandwidth: 50 GB/s, latency_s: 5 us, two_way: true}
workload:
  microbatches: 4
objectives: [makespan]
search:
  time_limit_s: 5 s
"""
"""A spec that plans; the bad ones are this one with a fault."""

BOMB = "bomb:\n  - &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"  - &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)
)


@frozen
class BadSpec:
    """A fault in a spec.

    Attributes
    ----------
    old, new
        The text of ``GOOD`` that is replaced, and by what; an empty ``old`` adds at the end.
    message
        A part of the message that says what is wrong, and a part that says what to do.
    line, key
        Where the message says the fault is; None where it cannot know.
    file
        The file that the message names, where it is another than the spec.
    files
        Further files beside the spec.
    """

    name: str
    old: str
    new: str
    message: tuple[str, ...]
    line: int | None = None
    key: str | None = None
    file: str = "spec.yaml"
    files: Mapping[str, str] = field(factory=dict)

    def write(self, folder: Path) -> Path:
        """Write the files of the spec into a folder; return the path of the spec."""
        assert self.old in GOOD
        text = GOOD.replace(self.old, self.new) if self.old else GOOD + self.new
        for name, content in self.files.items():
            (folder / name).write_text(content)
        path = folder / "spec.yaml"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return path


INLINE = GOOD[GOOD.index("model:") : GOOD.index("cluster:")]
LAST = "time_limit_s: 5 s"

BAD_SPECS = (
    # The file as text.
    BadSpec("empty", GOOD, "", ("is empty", "parplan init")),
    BadSpec("no mapping", GOOD, "- a\n", ("a spec is a mapping", "cluster, model")),
    BadSpec("truncated", LAST, "solver: 'cp", ("quoted scalar", "ends too early"), 18),
    BadSpec("tab", "  microbatches: 4", "\tmicrobatches: 4", ("a tab", "wants spaces"), 15),
    BadSpec("not UTF-8", "name: good", "name: g\udcf6", ("0xf6 is not UTF-8", "save"), 1),
    BadSpec("doubled key", "", "name: again\n", ("'name' is given twice", "line 1"), 19, "name"),
    BadSpec("YAML bomb", "", BOMB, ("more than 200,000 values", "model file")),
    BadSpec(
        "python tag",
        "name: good",
        "name: !!python/object/apply:os.system ['touch pwned']",
        ("tag '!!python/object/apply:os.system' is not allowed", "plain YAML"),
        1,
        "name",
    ),
    # Keys and types.
    BadSpec(
        "unknown key",
        "workload:",
        "worklod:",
        ("unknown key 'worklod'", "did you mean 'workload'"),
        14,
        "worklod",
    ),
    BadSpec(
        "unknown inner key",
        "memory_bytes: 80 GB}\n    - {name: g1",
        "memory: 80 GB}\n    - {name: g1",
        ("unknown key 'memory'", "did you mean 'memory_bytes'"),
        10,
        "cluster.devices[0].memory",
    ),
    BadSpec("missing key", "name: b, ", "", ("is missing",), 5, "model.operators[1].name"),
    BadSpec(
        "wrong type",
        "microbatches: 4",
        "microbatches: four",
        ("'four' is not a whole number",),
        15,
        "workload.microbatches",
    ),
    BadSpec(
        "text for a list",
        "consumers: [b]",
        "consumers: b",
        ("'b' is no list", "write ['b']"),
        7,
        "model.tensors[0].consumers",
    ),
    BadSpec(
        "number for a name",
        "{name: a,",
        "{name: 1,",
        ("1 is not a text", "put it in quotes"),
        4,
        "model.operators[0].name",
    ),
    BadSpec(
        "no microbatches",
        "microbatches: 4",
        "microbatches: 0",
        ("microbatches is 0", "at least 1"),
        14,
        "workload",
    ),
    BadSpec(
        "too many microbatches",
        "microbatches: 4",
        "microbatches: 4_000_000_000_000",
        ("microbatches is 4000000000000", "at most 1,048,576"),
        14,
        "workload",
    ),
    BadSpec(
        "too many devices",
        "{name: g0,",
        "{count: 1_000_000_000, name: 'g{}',",
        ("count is 1000000000", "at most 4096"),
        10,
        "cluster.devices[0]",
    ),
    BadSpec(
        "unknown kind of workload",
        "  microbatches: 4",
        "  kind: trainig",
        ("'trainig' is not a choice", "did you mean 'training'"),
        15,
        "workload.kind",
    ),
    # Quantities.
    BadSpec(
        "bits for memory",
        "{name: g0, memory_bytes: 80 GB}",
        "{name: g0, memory_bytes: 80 Gb}",
        ("small b", "write '80 GB', or '10 GB'"),
        10,
        "cluster.devices[0].memory_bytes",
    ),
    BadSpec(
        "size for bandwidth",
        "50 GB/s",
        "50 GB",
        ("is a size in bytes", "write '50 GB/s'"),
        13,
        "cluster.links[0].bandwidth",
    ),
    BadSpec(
        "unit cut short",
        "5 us",
        "5 u",
        ("unknown unit", "did you mean '5 us'"),
        13,
        "cluster.links[0].latency_s",
    ),
    BadSpec(
        "negative cost",
        "2 ms",
        "-2 ms",
        ("is -0.002", "finite and not negative"),
        4,
        "model.operators[0]",
    ),
    BadSpec("infinite cost", "2 ms", ".inf", ("is inf", "finite and not"), 4, "model.operators[0]"),
    BadSpec("NaN", "2 ms", ".nan", ("NaN",), 4, "model.operators[0].seconds.*"),
    BadSpec(
        "negative bandwidth",
        "50 GB/s",
        "-50 GB/s",
        ("bandwidth is -5", "above zero"),
        13,
        "cluster.links[0]",
    ),
    BadSpec(
        "reserve of all memory",
        "cluster:",
        "cluster:\n  reserve_bytes: 80 GB",
        ("device 'g0': the reserve leaves no memory",),
        11,
        "cluster.devices[0]",
    ),
    # The graph.
    BadSpec(
        "cycle",
        "bytes: 4 MB}",
        "bytes: 4 MB}\n    - {name: u, producer: b, consumers: [a]}",
        ("has a cycle: a -> b -> a", "DAG"),
        2,
        "model",
    ),
    BadSpec(
        "unknown operator",
        "producer: a,",
        "producer: aa,",
        ("tensor 't' names unknown operator 'aa'",),
        2,
        "model",
    ),
    BadSpec(
        "operator twice", "{name: b,", "{name: a,", ("two operators are named 'a'",), 2, "model"
    ),
    BadSpec(
        "operator without cost",
        "{name: b, seconds: 3 ms}",
        "{name: b, flops: 1 TFLOP}",
        ("operator 'b' has no seconds on 'device'", "roofline"),
        2,
        "model",
    ),
    BadSpec(
        "kind of device without cost",
        "seconds: 3 ms",
        "seconds: {gpu: 3 ms}",
        ("operator 'b' has no seconds on 'device'", "measured on gpu"),
        2,
        "model",
    ),
    # The cluster.
    BadSpec(
        "unknown end of a link",
        "target: g1",
        "target: g11",
        ("no device or switch is named 'g11'", "did you mean 'g1'"),
        13,
        "cluster.links[0].target",
    ),
    BadSpec(
        "unknown preset",
        "{name: g0,",
        "{preset: h100-sxm-800gb, name: g0,",
        ("no device preset is named 'h100-sxm-800gb'", "did you mean 'h100-sxm-80gb'"),
        10,
        "cluster.devices[0]",
    ),
    BadSpec(
        "device twice",
        "{name: g1,",
        "{name: g0,",
        ("two devices are named 'g0'",),
        11,
        "cluster.devices[1]",
    ),
    BadSpec(
        "no devices",
        GOOD[GOOD.index("  devices:") : GOOD.index("  links:")],
        "  devices: []\n",
        ("names no device",),
        9,
        "cluster.devices",
    ),
    # Model files.
    BadSpec(
        "missing model file",
        INLINE,
        "model: {kind: pipedream, file: none.txt}\n",
        ("no such file: 'none.txt'",),
        2,
        "model.file",
    ),
    BadSpec(
        "model kind without a file",
        INLINE,
        "model: {kind: pipedream}\n",
        ("needs 'file'",),
        2,
        "model",
    ),
    BadSpec(
        "unknown importer",
        INLINE,
        "model: {kind: huggingfase, file: x}\n",
        ("no importer is named 'huggingfase'", "did you mean 'huggingface'"),
        2,
        "model.kind",
    ),
    BadSpec(
        "unknown model_type",
        INLINE,
        "model: {kind: huggingface, file: config.json}\n",
        ("llama", "mistral"),
        file="config.json",
        files={"config.json": '{"model_type": "lama"}'},
    ),
    BadSpec(
        "unknown option of an importer",
        INLINE,
        "model:\n  kind: huggingface\n  file: config.json\n  options: {sequense: 8}\n",
        ("unknown key 'sequense'", "did you mean 'sequence'"),
        5,
        "model.options.sequense",
        files={"config.json": '{"model_type": "llama"}'},
    ),
    # Plugins.
    BadSpec(
        "unknown constraint",
        "objectives:",
        "constraints: [memory, placment]\nobjectives:",
        ("no constraint is named 'placment'", "did you mean 'placement'"),
        16,
        "constraints[1]",
    ),
    BadSpec(
        "unknown option of a constraint",
        "objectives:",
        "constraints:\n  - weights: {replica: true}\nobjectives:",
        ("unknown key 'replica'", "did you mean 'replicas'"),
        17,
        "constraints[0].weights.replica",
    ),
    BadSpec(
        "pin to an unknown device",
        "objectives:",
        "constraints:\n  - memory\n  - placement:\n      pin: {a: [g7]}\nobjectives:",
        ("g7", "g0"),
        19,
    ),
    BadSpec(
        "unknown objective",
        "[makespan]",
        "[makspan]",
        ("no objective is named 'makspan'", "did you mean 'makespan'"),
        16,
        "objectives[0]",
    ),
    BadSpec(
        "no objective", "[makespan]", "[]", ("names no objective", "'makespan'"), 16, "objectives"
    ),
    BadSpec(
        "unknown cost model",
        "objectives:",
        "costs: [rofline]\nobjectives:",
        ("no cost model is named 'rofline'", "did you mean 'roofline'"),
        16,
        "costs[0]",
    ),
    BadSpec(
        "unknown strategy",
        "objectives:",
        "strategies: [recompte]\nobjectives:",
        ("no strategy is named 'recompte'", "did you mean 'recompute'"),
        16,
        "strategies[0]",
    ),
    BadSpec(
        "unknown solver",
        LAST,
        "solver: cp-sats",
        ("no solver is named 'cp-sats'", "did you mean 'cp-sat'"),
        18,
        "search.solver",
    ),
    BadSpec(
        "no time",
        LAST,
        "time_limit_s: 0",
        ("0.0 is no time limit", "above zero"),
        18,
        "search.time_limit_s",
    ),
    BadSpec("wrong gap", LAST, "gap: 5", ("is no gap", "0 up to 1"), 18, "search.gap"),
    BadSpec("no tick", "", "tick_s: 0\n", ("is 0.0", "above zero"), 19, "tick_s"),
)
