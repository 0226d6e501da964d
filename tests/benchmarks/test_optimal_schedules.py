from __future__ import annotations

import attrs
import pytest

from benchmarks.optimal_schedules import (
    cases,
    delay_problem,
    read_gxl,
    refuse_wrong_claim,
)
from parplan.api import plan
from parplan.errors import InputError
from parplan.plans import Bound

FORK = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE gxl SYSTEM "http://www.gupro.de/GXL/gxl-1.0.dtd">
<gxl><graph id="fork">
<node id="1">
<attr name="Start time"><int>7</int></attr><attr name="Weight"><int>2</int></attr></node>
<node id="2"><attr name="Weight"><int>5</int></attr></node>
<node id="3"><attr name="Weight"><int>4</int></attr></node>
<edge from="1" to="2"><attr name="Weight"><int>3</int></attr></edge>
<edge from="1" to="3"><attr name="Weight"><int>1</int></attr></edge>
</graph></gxl>
"""


def test_a_file_becomes_durations_and_delays() -> None:
    graph = read_gxl(FORK, "fork.gxl")
    assert graph.durations == {"1": 2, "2": 5, "3": 4}
    assert graph.delays == {("1", "2"): 3, ("1", "3"): 1}


@pytest.mark.parametrize(
    "text",
    [
        "<gxl>",
        FORK.replace('<node id="3">', "<node>"),
        FORK.replace('to="3"', 'to="4"'),
        FORK.replace('"Weight"', '"Time"'),
        FORK.replace("<int>5</int>", "<int>five</int>"),
        FORK.replace("<gxl>", '<!DOCTYPE x [<!ENTITY a "aa">]><gxl>'),
    ],
)
def test_what_is_no_task_graph_is_refused_with_the_file(text: str) -> None:
    with pytest.raises(InputError, match=r"^fork\.gxl: "):
        read_gxl(text, "fork.gxl")


@pytest.mark.parametrize(("processors", "optimum"), [(1, 11), (2, 7)])
def test_a_task_waits_for_its_delay_on_another_processor_only(
    processors: int, optimum: int
) -> None:
    # Alone: 2 + 5 + 4. On two: 1 and 2 on one, to 7; 3 on the other from 2 + 1 to 7.
    found = plan(delay_problem("fork", read_gxl(FORK, "fork.gxl"), processors), workers=1)
    assert (found.value, found.status) == (optimum, "optimal")


def test_claims_that_the_published_optimum_contradicts_are_refused() -> None:
    found = plan(delay_problem("fork", read_gxl(FORK, "fork.gxl"), 2), workers=1)
    refuse_wrong_claim(found, 7)
    with pytest.raises(InputError, match="less than the optimum, 8"):
        refuse_wrong_claim(found, 8)
    with pytest.raises(InputError, match="above the optimum, 6"):
        refuse_wrong_claim(attrs.evolve(found, bound=Bound(6.5)), 6)
    assert found.value > 6  # a plan that is not optimal is no wrong claim


def test_without_the_data_one_case_names_what_it_needs() -> None:
    (case,) = cases(None)
    assert case.needs == "auckland/index.csv"
