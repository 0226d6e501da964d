"""``parplan cluster detect``: a section that a spec takes, from files and from nvidia-smi."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from parplan.api import prepare
from parplan.cli import main
from parplan.measuring.measured_costs import MeasuredCosts, MeasuredLink, save_costs
from parplan.spec.sections import parse_spec

RECORDED = Path(__file__).parents[1] / "cluster_detection" / "recorded"


def test_a_plan_takes_what_was_detected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = ["--topology", str(RECORDED / "topo-l40s-pcie.txt"),
             "--gpus", str(RECORDED / "gpus-l40s.csv")]  # fmt: skip
    assert main(["cluster", "detect", *files, "-o", "cluster.yaml"]) == 0
    said = capsys.readouterr()
    assert "cluster.yaml: written" in said.out
    assert "note: all ways over PCIe" in said.err
    spec = yaml.safe_load((tmp_path / "cluster.yaml").read_text())
    model = {"stages": 4, "forward_s": 1, "backward_s": 1, "boundary_bytes": 1}
    spec |= {"name": "x", "model": {"kind": "stages", "options": model},
             "workload": {"kind": "training", "microbatches": 2}}  # fmt: skip
    problem = prepare(parse_spec(yaml.safe_dump(spec))).problem
    assert [device.name for device in problem.cluster.devices] == ["gpu0", "gpu1", "gpu2", "gpu3"]


def test_nvidia_smi_is_asked_where_no_file_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["cluster", "detect"]) == 2
    assert "nvidia-smi is not on this machine" in capsys.readouterr().err
    program = tmp_path / "nvidia-smi"
    program.write_text(
        f'#!/bin/sh\ncase "$1" in\n'
        f'topo) while read -r l; do echo "$l"; done < {RECORDED}/topo-l40s-pcie.txt;;\n'
        f'*) while read -r l; do echo "$l"; done < {RECORDED}/gpus-l40s.csv;;\nesac\n'
    )
    os.chmod(program, 0o755)
    assert main(["cluster", "detect"]) == 0
    section = yaml.safe_load(capsys.readouterr().out)["cluster"]
    assert section["devices"][0]["preset"] == "l40s"
    program.write_text("#!/bin/sh\necho 'no driver' >&2; exit 9\n")
    assert main(["cluster", "detect"]) == 2
    assert "'nvidia-smi topo -m' failed: no driver" in capsys.readouterr().err


def test_errors_name_the_file_and_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("a\nb slot=3\n")
    assert main(["cluster", "detect", "--hosts", str(hosts)]) == 2
    assert f"{hosts}:2" in capsys.readouterr().err
    assert main(["cluster", "detect", "--hosts", f"{tmp_path}/none"]) == 2
    assert "no such host file" in capsys.readouterr().err
    assert main(["cluster", "detect", "--hosts", "n[1-2]", "--gpu", "h100"]) == 2
    assert "how many devices host 'n1' has" in capsys.readouterr().err


def test_messages_of_recorded_runs_are_links(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "costs.json"
    told = MeasuredLink("a", "b", 2e9, 3e-6, 8)
    untold = MeasuredLink("b", "a", None, 0.01, 8)
    command = ["cluster", "detect", "--costs", str(path), "--gpu", "h100"]

    def links(*measured: MeasuredLink) -> None:
        save_costs(MeasuredCosts("a run", (), measured), path)

    links(told)
    assert main(command) == 0
    (found,) = yaml.safe_load(capsys.readouterr().out)["cluster"]["links"]
    assert found == {"source": "a", "target": "b", "bandwidth": "2 GB/s", "latency_s": 3e-6}
    links(told, untold)
    assert main([*command, "--inter", "infiniband-ndr"]) == 0
    out, err = capsys.readouterr()
    other = yaml.safe_load(out)["cluster"]["links"][1]
    assert other == {"source": "b", "target": "a", "preset": "infiniband-ndr"}
    assert "taken to be 'infiniband-ndr'" in err
    assert main(command) != 0
    assert "from b to a do not tell a bandwidth" in capsys.readouterr().err
    links()
    assert main(command) != 0
    assert f"{path}: has no messages" in capsys.readouterr().err
