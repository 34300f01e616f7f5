"""The textbook path and the fast one compute the same, and the benchmark tells how they compare."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from support.windows import a_sample

from ddllib import pipeline
from ddllib.experiments import benchmark, benchmark_tables, benchmark_work, speedups, textbook
from ddllib.experiments.benchmark_work import Case
from ddllib.figures import plots
from ddllib.methods.ddl import batch_loss
from ddllib.models.unet import Conv3DSkipUNet
from ddllib.scoring import score_clip
from ddllib.settings import Settings
from ddllib.training import new_run
from ddllib.windows import paint_boxes

SIZE, CPU = 32, torch.device("cpu")


@pytest.fixture
def files(tmp_path):
    return benchmark_work.write_images(tmp_path, 6)


@pytest.mark.parametrize("preset", ["released", "paper"])
@pytest.mark.parametrize("temporal", [1, 3, 5])
def test_one_window_through_both_paths(preset, temporal):
    torch.manual_seed(0)
    model = Conv3DSkipUNet(preset, 16, temporal=temporal)
    x = torch.rand(2, 3, temporal, SIZE, SIZE)
    with torch.no_grad():
        for training in (True, False):  # the first pass also leaves the batch norms statistics
            model.train(training)
            exact = textbook.reconstruct(copy.deepcopy(model).double(), x.double())
            assert (model(x)[:, :, 0] - exact).abs().max() < 1e-5  # float32's own error is more


def test_counted_work_is_that_of_the_figures():
    """Per encoded frame, in the decoder and for each convolution in time (METHOD, section 4)."""
    with torch.device("meta"):
        model = Conv3DSkipUNet("released", 512)
        counts = [speedups.flops(model, torch.empty(1, 3, n, 256, 256)) / 1e9 for n in (3, 4)]
    in_time = 4 * 10.9 / 3  # the middle third of each
    each = 75.4 + 116.8 + in_time
    assert counts == pytest.approx([2 * 75.4 + each, 2 * 75.4 + each + each], rel=0.002)


def test_a_clip_gets_the_same_scores(files):
    run = new_run(Settings(size=SIZE, latent_dim=16, precision="float32"))
    clip = benchmark_work.read_clip(files, SIZE)
    benchmark_work.settle(run.model, clip, CPU)
    ours = score_clip(run.model, clip, 2)

    def read(start):
        return textbook.read_window(files[start : start + 3], SIZE, 1)

    assert abs(ours - textbook.score_clip(run.model, read, len(files), 2)).max() < 1e-5
    assert ours.std() > 0


def test_a_step_has_the_same_loss_and_gradients(files):
    settings = Settings(size=SIZE, latent_dim=16, precision="float32", device="cpu")
    ours, plain = new_run(settings), new_run(settings)
    windows = [files[k : k + 3] for k in range(3)]
    x = torch.stack([textbook.read_window(window, SIZE, 1) for window in windows])
    mask = paint_boxes(torch.tensor(benchmark_work.BOX).expand(3, 3, 4), SIZE, SIZE)
    ours.train()
    terms = batch_loss(ours, a_sample(x, mask), benchmark_work.seeded(CPU))
    terms.total.backward()
    still = torch.optim.SGD([*plain.model.parameters(), *plain.creator.parameters()], lr=0)
    noise = torch.rand(x.shape, generator=benchmark_work.seeded(CPU))
    same = textbook.train_step(plain.model, plain.creator, still, windows, mask, noise, SIZE)
    assert float(terms.total.detach()) == pytest.approx(float(same.total.detach()), abs=1e-5)
    for one, other in zip(ours.model.parameters(), plain.model.parameters(), strict=True):
        if one.grad is None:  # a bias before a batch norm: there is nothing but rounding to learn
            assert other.ndim == 1 and other.grad.abs().max() < 1e-5
            continue
        scale = other.grad.abs().max().clamp(min=1e-3)
        assert (one.grad - other.grad).abs().max() / scale < 1e-3
    for one, other in zip(ours.model.buffers(), plain.model.buffers(), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
    assert ours.creator.l.grad == pytest.approx(float(plain.creator.l.grad), rel=1e-3)


@pytest.mark.slow
def test_the_table_has_a_row_for_each_path_and_precision(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "matrix_product", lambda *_: 1e12)
    monkeypatch.setattr(benchmark, "can_compile", lambda device: False)  # takes a minute
    monkeypatch.setattr(benchmark, "TURN", 0)
    report = benchmark.measure([Case("tiny", 96, 16, 5, 1)], "cpu", 1)  # more than a warm start
    rows = json.loads(json.dumps(report))["rows"]
    precisions = benchmark_work.precisions_of(CPU)
    slow = benchmark_work.TEXTBOOK
    assert [r["way"] for r in rows if r["what"] == "scoring"] == [slow, *precisions]
    assert [r["way"] for r in rows if r["what"] == "training"] == [slow, *precisions]
    assert all(row["ratio"] == 1 for row in rows if row["way"] == slow)
    assert all(row["difference"] < 1e-5 for row in rows if row["way"] == "float32")
    assert all(row["difference"] < 0.01 and row["peak_mib"] > 0 for row in rows)
    assert all(row["ratio"] > 0 and 0 < row["share"] < 1 for row in rows)
    assert plots.speed_bars(rows).axes
    assert len(benchmark_tables.speed_table(report)) == len(rows)
    assert benchmark_tables.judged_table(report).empty


def test_in_its_turn_what_is_quick_works_more_often(monkeypatch):
    clock = iter([0, 9, 9, 12, 12, 13, 13, 13.5, 13.5, 15])  # slow at first, which does not count
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))
    assert benchmark._turn(lambda: None, CPU) == [9, 3, 1, 0.5, 1.5]
    clock = iter([0, 3, 3, 6, 6, 9, 9, 12, 12, 15])
    assert benchmark._turn(lambda: None, CPU) == [3, 3, 3, 3, 3]
    clock = iter([0, 9, 9, 13, 13, 16, 16, 19, 19, 21] * 2)
    assert benchmark.alternate({"way": lambda: None}, 2, CPU) == {"way": 3}


def test_a_trained_run_is_judged_by_each_way(small_settings, small_data, monkeypatch):
    monkeypatch.setattr(benchmark.pipeline, "prepare", lambda *_, **__: small_data)
    settings = small_settings()
    result = benchmark.judge(settings)
    own = pipeline.score(settings, small_data, pipeline.train(settings, small_data), progress=False)
    assert result["auc"]["float32"] == own.auc("median")
    assert result["auc"]["textbook"] == pytest.approx(own.auc("median"), abs=1e-3)
    assert result["difference"]["float32"] < 1e-5
    assert list(benchmark_tables.judged_table({"judged": result})["scored by"]) == list(
        result["auc"]
    )


def test_leaving_a_means_out_changes_the_time_and_not_the_outcome(monkeypatch):
    monkeypatch.setattr(benchmark, "TURN", 0)
    settings = Settings(size=SIZE, latent_dim=16, precision="float32")
    clip = torch.rand(6, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    ways = speedups.scoring_without(settings, clip)
    whole = ways[speedups.WITH_ALL]()
    assert set(ways) == set(speedups.SPEEDUPS["scoring"])
    for name, way in ways.items():
        again = way()
        again = again.transpose(0, 2) if name == speedups.ONCE else again
        assert (again - whole).abs().max() < 1e-5, name
    x, mask = torch.rand(2, 3, 3, SIZE, SIZE), torch.ones(2, 1, 3, SIZE, SIZE)
    steps = speedups.training_without(settings, a_sample(x, mask))
    losses = {name: way() for name, way in steps.items()}
    assert set(losses) == set(speedups.SPEEDUPS["training"])
    assert max(losses.values()) - min(losses.values()) < 1e-5
    rows = benchmark.speedup_rows(Case("tiny", SIZE, 8, 20, 2), CPU, 1)
    table = benchmark_tables.speedup_table({"means": rows})
    assert set(table["left out"]) == {
        *speedups.SPEEDUPS["scoring"][1:],
        *speedups.SPEEDUPS["training"][1:],
    }


@pytest.mark.slow
def test_a_fault_of_the_user_is_one_line():
    for arguments in (["--device", "tpu"], ["--judge", "nobody", "--cases"]):
        call = [sys.executable, "-m", "ddllib", "benchmark", *arguments]
        process = subprocess.run(call, capture_output=True, text=True)
        assert process.returncode == 1 and process.stderr.count("\n") == 1


@pytest.mark.slow
def test_each_term_is_timed_beside_the_papers_score(tmp_path, capsys):
    record = tmp_path / "record.json"
    arguments = ["terms", "--case", "small", "--rounds", "1", "--to", str(record)]
    assert benchmark.main(arguments) == 0
    report = json.loads(record.read_text())
    assert [row["ratio"] for row in report["rows"] if row["score"] == "distance"] == [1.0, 1.0]
    assert all(row["ms"] > 0 for row in report["rows"])
    table = benchmark_tables.terms_cost_table(report)
    assert set(table["scored as a"]) == {"clip", "stream"} and len(table) == len(report["rows"])
    assert "averaged contrast" in capsys.readouterr().out
