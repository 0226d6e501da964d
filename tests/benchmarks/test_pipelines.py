"""The suite of pipelines: what its rows mean, by optima found by hand, and what it lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import Case, Context, load_suite
from benchmarks.runner import Selection, run_suite

HEADER = "case,p,m,placement,F,B,W,delay,cap,release,best_known,bound_known,note\n"
OPTIMA = {
    "dualpipe/two": ("2,2,mirrored,1,1,1,0,2,W", 6.0),  # neither device ever waits
    "tight/one-way": ("2,2,one-way,1,1,1,1,2,W", 9.0),  # F 2 F B B: then back, B and its W
    "tight/one-way-cap1-W": ("2,2,one-way,1,1,1,1,1,W", 14.0),  # one after another
    "tight/one-way-cap1-B": ("2,2,one-way,1,1,1,1,1,B", 13.0),  # the next F before the W
    "tight/one-way-cap1-half": ("2,2,one-way,1,1,1,1,1,half", 14.0),
    "tight/V": ("2,1,V,1,1,1,1,2,W", 13.0),  # no delay where the V turns
    "scale/uneven": ("2,1,one-way,29.7,29.4,19.9,0.6,1,W", 2 * 29.7 + 2 * 29.4 + 19.9 + 1.2),
}


def write_tables(folder: Path) -> Path:
    """Write tables of a few tiny rows, with which every optimum can be found by hand."""
    (folder / "pipelines").mkdir()
    rows = "".join(f"{name},{row},{value},,\n" for name, (row, value) in OPTIMA.items())
    (folder / "pipelines" / "cases.csv").write_text(HEADER + rows)
    (folder / "zero-bubble").mkdir()
    (folder / "zero-bubble" / "profiled.csv").write_text(
        "set,model,p,m,f_us,b_us,w_us,comm_us,hidden,heads,layers,split\n"
        "iclr,1B,2,1,1000,2000,500,10,64,4,2,per-stage\n"
        "arxiv,1B,2,1,1000,2000,500,10,64,4,2,per-chunk\n"
    )
    (folder / "zero-bubble" / "results.csv").write_text(
        "set,model,p,m,method,mem_limit,stage_span_us,makespan_us,work_us,x,y,seconds\n"
        "iclr,1B,2,1,1F1B,p,9000,9500,3500,0,0,1\n"
        "iclr,1B,2,1,ZB-heuristic,1p,8000,9900,3500,0,0,1\n"
        "iclr,1B,2,1,ZBV-heuristic,1p(=2p chunks),7000,7000,3500,0,0,1\n"
        "arxiv,1B,2,1,ZB-heuristic,1p,16000,16000,7000,0,0,1\n"
    )
    return folder


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """The cases of the tiny tables by name."""
    found = load_suite("pipelines", write_tables(tmp_path_factory.mktemp("data")))
    return {case.name: case for case in found}


def planned(case: Case) -> tuple[float, float | None]:
    """Plan a case; return the proven optimum and the reference."""
    outcome = case.run(Context(None, 20.0))
    assert outcome.plan is not None
    assert outcome.plan.status == "optimal"
    return outcome.plan.value, outcome.reference


@pytest.mark.parametrize("name", OPTIMA)
def test_a_row_has_the_optimum_found_by_hand(name: str, suite: dict[str, Case]) -> None:
    value, reference = planned(suite[name])
    assert value == pytest.approx(OPTIMA[name][1])
    assert reference == pytest.approx(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("free/two", 6.0),
        ("extra/one-way-link", 9.0),
        ("extra/one-way-cap1-W-link", 14.0),  # the byte on the link takes no room from activations
    ],
)
def test_what_is_made_from_other_rows(name: str, value: float, suite: dict[str, Case]) -> None:
    assert planned(suite[name])[0] == pytest.approx(value)


@pytest.mark.parametrize(
    ("name", "value", "reference"),
    [
        # There and back with two transfers, and the last W.
        ("zero-bubble/iclr-1B-p2-m1-one-way-1p-makespan", 6.52e-3, 9.5e-3),
        # Half the times for a chunk; four chunks, of which the two in the middle share a device.
        ("zero-bubble/iclr-1B-p2-m1-V-1p-makespan", 6.29e-3, 7.0e-3),
        # Twice the times for a stage, but not for a transfer.
        ("zero-bubble/arxiv-1B-p2-m1-one-way-1p-makespan", 13.02e-3, 16.0e-3),
    ],
)
def test_measured_models_are_of_a_stage_or_of_a_chunk(
    name: str, value: float, reference: float, suite: dict[str, Case]
) -> None:
    found, known = planned(suite[name])
    assert found == pytest.approx(value)
    assert known == pytest.approx(reference)


def test_spans_have_their_own_objective_and_reference(suite: dict[str, Case]) -> None:
    outcome = suite["zero-bubble/iclr-1B-p2-m1-one-way-1p-span"].run(Context(None, 5.0))
    assert outcome.plan is not None
    assert [rule.name for rule in outcome.plan.problem.objectives] == ["stage-span"]
    assert outcome.reference == pytest.approx(8.0e-3)


def test_the_suite_has_every_family(suite: dict[str, Case]) -> None:
    families = {case.family for case in suite.values()}
    assert families >= {"dualpipe", "tight", "scale", "extra", "free"}
    assert families >= {"zero-bubble", "moe", "robust", "unequal"}


def test_families_without_their_tables_are_listed(tmp_path: Path) -> None:
    # Cases that need no table have names of their own.
    selection = Selection("*/[*]", data=tmp_path, plans=tmp_path / "plans")
    rows = list(run_suite("pipelines", selection))
    assert {row["status"] for row in rows} == {"not run"}
    assert sorted(row["case"] for row in rows) == [
        f"{family}/*" for family in ("dualpipe", "extra", "free", "scale", "tight", "zero-bubble")
    ]
