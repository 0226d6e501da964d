import json

import pytest
from hypothesis import given, settings

from parplan.errors import InputError
from parplan.plan_files.plan_file import graph_text, load_graph, save_graph
from parplan.plugins.importers.analytic.huggingface import HuggingFace
from parplan.plugins.importers.json_graph import JsonGraph
from tests.strategies import graphs


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("graph") / "graph.json"


@settings(max_examples=25)
@given(graph=graphs())
def test_import_of_an_export_is_the_same_graph(graph, path):
    save_graph(graph, path)
    assert JsonGraph().load(path, {}) == graph
    assert graph_text(load_graph(path)) == path.read_text()


def test_imported_models_survive_with_every_field(tmp_path, examples):
    graph = HuggingFace().load(examples / "models" / "llama-3-8b.json", {"granularity": "block"})
    save_graph(graph, tmp_path / "llama.json.gz")
    assert JsonGraph().load(tmp_path / "llama.json.gz", {}) == graph


def test_equal_modes_are_written_once(tmp_path, examples):
    graph = HuggingFace().load(examples / "models" / "llama-3-8b.json", {"granularity": "layer"})
    save_graph(graph, tmp_path / "llama.json")
    content = json.loads((tmp_path / "llama.json").read_text())
    assert (content["format"], content["version"]) == ("parplan-graph", 1)
    # One without workspace, and that of a layer's backward pass.
    assert len(content["graph"]["modes"]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "parplan-plan"}, "is 'parplan-plan'; a graph file says"),
        ({"version": 2}, "version: 2 is not the version that parplan"),
        ({"graph": {"name": "g", "modes": [], "operatrs": []}}, "graph.operatrs: .*did you mean"),
        (
            {"graph": {"name": "g", "modes": [], "operators": [{"name": "o", "modes": [3]}]}},
            r"graph.operators\[0\].modes\[0\]: 3 is not one of the 0 modes",
        ),
    ],
)
def test_a_damaged_file_names_file_and_key(tmp_path, change, message):
    content = {"format": "parplan-graph", "version": 1, "parplan": "0", "graph": {}}
    (tmp_path / "bad.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(InputError, match=message) as error:
        JsonGraph().load(tmp_path / "bad.json", {})
    assert error.value.file.endswith("bad.json")


def test_options_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"model\.options\.sequence"):
        JsonGraph().load(tmp_path / "any.json", {"sequence": 1})
