"""What a group passes on in memory is not read from files, also after a process died."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import batch_pipeline
import pytest
from lsst.daf.butler import Butler

from prompt_processing.batch.graph import build_graph, prepare_run, register_outputs
from prompt_processing.batch.outcomes import State
from prompt_processing.batch.plan import plan_groups, run_context
from prompt_processing.batch.quanta import run_group
from prompt_processing.batch.request import RunRequest

pytestmark = pytest.mark.integration

HELD = ("doubled",)
RUN = "u/test/run"


@pytest.mark.parametrize("new", [True, False])
def test_products_of_a_process_that_died_are_made_again_in_memory_alone(
    new: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "journal"
    monkeypatch.setenv(batch_pipeline.JOURNAL, str(journal))
    monkeypatch.delenv(batch_pipeline.TROUBLE, raising=False)
    repo = batch_pipeline.make_repository(tmp_path, 1, 1)
    pipeline = tmp_path / "arithmetic.yaml"
    pipeline.write_text(batch_pipeline.PIPELINE)
    request = RunRequest(str(repo), str(pipeline), ("in",), output="u/test")
    with Butler.from_config(str(repo), writeable=True) as butler:
        register_outputs(butler, request)
        graph = build_graph(butler, request, RUN, tmp_path / "graph.qg")
        graph.pipeline_graph.register_dataset_types(butler)
        prepare_run(butler, graph, RUN)
    _, group = next(plan_groups(graph, set(), cluster=True, held=HELD).groups())
    double, negate = group
    assert [one.task for one in group] == ["double", "negate"]
    run_group(run_context(str(repo), graph, new=True, held=HELD), group)

    # The process died before it wrote the metadata of the second task.
    root = repo / RUN
    (doubled,), (negated,), (metadata,) = (
        [path for path in (root / name).rglob("*") if path.is_file()]
        for name in ("doubled", "negated", "negate_metadata")
    )
    expected = negated.read_bytes()
    metadata.unlink()
    negated.write_bytes(b"cut off")
    # As if the file were not quite what the first task has made.
    doubled.write_bytes(b"rounded")
    (_, again) = next(plan_groups(graph, {double.quantum_id}, cluster=True, held=HELD).groups())
    assert [one.task for one in again] == ["double", "negate"]
    context = run_context(str(repo), graph, new=new, held=HELD)
    outcomes = run_group(context, again)
    assert [(one.state, one.was_there) for one in outcomes] == [
        (State.SUCCESSFUL, True),
        (State.SUCCESSFUL, False),
    ]
    assert negated.read_bytes() == expected
    assert doubled.read_bytes() == b"rounded"
    assert metadata.exists()

    # Nothing is repeated for what is complete, or without anything in memory.
    before = Counter(journal.read_text().splitlines())
    assert all(one.was_there for one in run_group(context, group))
    assert Counter(journal.read_text().splitlines()) == before
    for cluster, held in ((True, ()), (False, HELD)):
        left = plan_groups(graph, {double.quantum_id}, cluster=cluster, held=held)
        assert double.quantum_id not in {one for ids in left.members.values() for one in ids}
    assert negate.quantum_id in {one for ids in left.members.values() for one in ids}
