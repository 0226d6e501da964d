"""Looks for contradictions: what is claimed of random small problems, each claim beside all others.

No plan may be better than a bound, no optimum worse than a plan, and where somebody says that there
is no plan, nobody may have one. A problem is judged once full enumeration, or solvers of two kinds
each alone on the whole model, have proven an answer for it.

A problem is searched with one solver, and put to one more solver alone, in turn: of kinds, searches
and solvers, all meet all.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.claims import LEVELS, MODELS, SEARCHES, Claim, Way, in_this_process
from benchmarks.enumeration import by_enumeration
from benchmarks.small_kinds import KINDS
from parplan.problem import Problem
from parplan.registry import Registry
from parplan.rules import Rules, make_rules
from parplan.system.contained import Channel, run_contained

ENUMERATION = "full enumeration"

JUDGES = ("model by cp-sat", "model by highs")
"""Solvers that judge a problem if both of them prove an answer: the first one is always asked."""

BATCH = 100
"""Problems that one process judges."""

MOST_SECONDS = 60.0
"""Of a problem, on average over a batch: a process that takes longer is killed."""

EQUAL = 1e-6

Row = dict[str, Any]
"""What is kept of one problem: a line of JSON."""


def judge(numbers: Iterable[int], seed: int, registry: Registry, file: Path) -> Iterator[Row]:
    """Judge problems by their numbers; those that the file has no row of yet. Yield all rows.

    A process judges many of them, and writes each row to the file. If it dies or never ends, the
    problem that it was at counts as failed, and another process goes on.
    """
    done = {row["case"]: row for row in read_rows(file)}
    wanted = [number for number in numbers if _name(seed, number) not in done]
    yield from (row for number in numbers if (row := done.get(_name(seed, number))) is not None)
    while wanted:
        batch = wanted[:BATCH]
        limit_s = MOST_SECONDS * len(batch)
        outcome = run_contained(
            *(_judge_batch, batch, seed, registry, file), time_limit_s=limit_s, label="judge"
        )
        if outcome.interrupted:
            raise KeyboardInterrupt
        fresh = {row["case"]: row for row in read_rows(file)}
        yield from (fresh[name] for n in batch if (name := _name(seed, n)) in fresh)
        wanted = [number for number in wanted if _name(seed, number) not in fresh]
        if outcome.failure is not None and wanted:
            died = {**_blank(seed, wanted[0]), "faults": {"process": [outcome.failure]}}
            _append(file, died)
            yield died
            wanted = wanted[1:]


def read_rows(file: Path) -> list[Row]:
    """Return the rows of a file; none if there is no such file."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _append(file: Path, row: Row) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(f"{json.dumps(row, allow_nan=False)}\n")


def _judge_batch(
    _: Channel, numbers: Iterable[int], seed: int, registry: Registry, file: Path
) -> None:
    here = in_this_process(registry)
    for number in numbers:
        begun = time.perf_counter()
        row = judge_one(seed, number, here)
        _append(file, {**row, "seconds": round(time.perf_counter() - begun, 3)})


def _name(seed: int, number: int) -> str:
    return f"{seed}/{number}"


def _kind(number: int) -> str:
    return list(KINDS)[number % len(KINDS)]


def _blank(seed: int, number: int) -> Row:
    return {"case": _name(seed, number), "kind": _kind(number), "judged_by": "", "claims": {}}


def draw(seed: int, number: int) -> Problem:
    """Return the problem of a number: kinds take turns."""
    return KINDS[_kind(number)](Random(_name(seed, number)))


def judge_one(seed: int, number: int, registry: Registry) -> Row:
    """Return who claims what of a problem, and which of it cannot be true together."""
    problem = draw(seed, number)
    claims = make_claims(problem, make_rules(problem, registry), registry, ways_of(number))
    return {
        **_blank(seed, number),
        "tasks": problem.task_count,
        "judged_by": judges(claims),
        "no_plan": any(claim.no_plan for claim in claims.values()),
        "claims": {
            way: {"value": c.value, "bound": c.bound, "proven": c.proven}
            for way, c in claims.items()
        },
        "contradictions": list(contradictions(claims)),
        "faults": {way: list(claim.faults) for way, claim in claims.items() if claim.faults},
    }


def ways_of(number: int) -> list[str]:
    """Return the search, the model and the loop that a problem is put to: they take turns."""
    turn = number // len(KINDS)
    others = [way for way in (*MODELS, *LEVELS) if way != JUDGES[0]]
    return [
        list(SEARCHES)[turn % len(SEARCHES)],
        JUDGES[0],
        others[turn % len(others)],
    ]


def make_claims(
    problem: Problem, rules: Rules, registry: Registry, ways: Iterable[str]
) -> dict[str, Claim]:
    """Return what full enumeration says of a problem, each way, and all judges where needed."""
    known = {**SEARCHES, **MODELS, **LEVELS}
    claims = {ENUMERATION: by_enumeration(problem, rules)}
    needed = () if claims[ENUMERATION].proven else JUDGES
    for name in dict.fromkeys((*ways, *needed)):
        claims[name] = _claim(known[name], problem, rules, registry)
    return claims


def _claim(way: Way, problem: Problem, rules: Rules, registry: Registry) -> Claim:
    """Return what one way says; what it raises is a fault of it."""
    try:
        return way(problem, rules, registry)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is to be told
        return Claim(faults=(f"{type(error).__name__}: {error}",))


def judges(claims: Mapping[str, Claim]) -> str:
    """Return whose proof a problem is judged by; empty if there is no such proof."""
    if claims[ENUMERATION].proven:
        return ENUMERATION
    proven = all(way in claims and claims[way].proven for way in JUDGES)
    return "two solvers" if proven else ""


def contradictions(claims: Mapping[str, Claim]) -> Iterator[str]:
    """Yield what cannot be true together. Every value is one of a plan that passed the check."""
    values = {way: claim.value for way, claim in claims.items() if claim.value is not None}
    best = min(values, key=lambda way: values[way], default=None)
    if best is None:
        return
    least = values[best]
    for way, claim in claims.items():
        if claim.no_plan:
            yield f"{way} says that there is no plan; {best} has one of {least:g}"
        if claim.bound is not None and claim.bound > least + EQUAL:
            yield f"{way} has a bound of {claim.bound:g}; {best} has a plan of {least:g}"
        if claim.proven and claim.value is not None and claim.value > least + EQUAL:
            yield f"{way} calls {claim.value:g} optimal; {best} has a plan of {least:g}"


def summary(rows: Iterable[Row]) -> dict[str, Any]:
    """Return by kind how many problems there were, who judged them, and what contradicts.

    ``proven`` counts claims of searches that a plan is optimal, or that there is none, of problems
    that are judged.
    """
    kinds: dict[str, Counter[str]] = {}
    wrong: list[dict[str, Any]] = []
    faults: list[dict[str, Any]] = []
    for row in rows:
        count = kinds.setdefault(row["kind"], Counter())
        count["problems"] += 1
        count[f"judged by {row['judged_by']}" if row["judged_by"] else "undecided"] += 1
        count["without plan"] += bool(row.get("no_plan"))
        claims = row["claims"]
        count["searches"] += sum(way in SEARCHES for way in claims)
        if row["judged_by"]:
            count["proven"] += sum(c["proven"] for way, c in claims.items() if way in SEARCHES)
        count["contradictions"] += len(row.get("contradictions", ()))
        wrong += [{"case": row["case"], "says": text} for text in row.get("contradictions", ())]
        faults += [{"case": row["case"], **row["faults"]}] if row.get("faults") else []
    total: Counter[str] = Counter()
    for count in kinds.values():
        total.update(count)
    return {
        **{kind: dict(count) for kind, count in kinds.items()},
        "all": dict(total),
        "contradictions": wrong,
        "faults": faults,
    }
