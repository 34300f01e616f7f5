"""The chapters as a reader runs them: under `tiny`, with their stored numbers held to account."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import papermill as papermill_module
import pytest
from build import stored_numbers
from chapters import find_own_kernel
from jupyter_client.kernelspec import KernelSpecManager

from data_prep import demo
from ddllib.errors import DDLError
from ddllib.evaluation import CIRCULATING, PROTOCOLS
from ddllib.experiments.publishing import DRAWN
from ddllib.figures.parameters import chapter_settings
from ddllib.paths import ROOT
from ddllib.settings import VOCABULARY

CHAPTERS, PAGES = (sorted((ROOT / "book").glob(f"*.{kind}")) for kind in ("ipynb", "md"))


@pytest.fixture
def numbers(executed_chapters):
    """The numbers an executed chapter has stored, by its file's stem."""
    return lambda stem: stored_numbers(executed_chapters.executed(f"book/{stem}"))


def cells(path, kind):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == kind]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_sources_are_without_outputs_and_read_as_chapters(path):
    code, prose = cells(path, "code"), cells(path, "markdown")
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    unseen = {"remove-cell", "hide-input"}
    visible_cells = [c for c in code if not unseen & set(c["metadata"].get("tags", []))]
    assert all(len(cell["source"]) <= 18 for cell in visible_cells)
    words = sum(len("".join(cell["source"]).split()) for cell in prose)
    assert words > sum(len("".join(cell["source"]).split()) for cell in visible_cells)


def fenced(text):
    """The lines of fenced code; a fence whose name is in braces holds prose."""
    language = None
    for line in text.splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
        elif language is not None and not language.startswith("{"):
            yield line


@pytest.mark.parametrize("path", [*CHAPTERS, *PAGES], ids=lambda path: path.stem)
def test_code_is_no_wider_than_a_page(path):
    if path in PAGES:
        code, prose = [], [path.read_text()]
    else:
        code, prose = (["".join(c["source"]) for c in cells(path, k)] for k in ("code", "markdown"))
    code = [line for text in code for line in text.splitlines()]
    code += [line for text in prose for line in fenced(text)]
    assert [line for line in code if len(line) > 79] == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_one_cell_of_parameters_from_the_shared_vocabulary(path):
    tagged = [c for c in cells(path, "code") if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
    names = {line.split("=")[0].strip() for line in tagged[0]["source"]}
    assert "profile" in names and names <= VOCABULARY
    others = [
        n for c in cells(path, "code") if c not in tagged for n in assigned("".join(c["source"]))
    ]
    assert not set(others) & (names - {"profile"})  # the cells may be run again in any order


def assigned(code):
    nodes = ast.walk(ast.parse(code))
    return [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


TRAINING = ("05-training", "06-scoring-and-evaluation", "11-your-own-camera")


@pytest.mark.parametrize("stem", TRAINING)
def test_a_chapter_that_trains_declares_all_that_training_reads(stem):
    """Papermill warns of a parameter that no cell declares, though it works."""
    names = set(papermill_module.inspect_notebook(str(ROOT / "book" / f"{stem}.ipynb")))
    watching = {"watch", "watch_minutes"} if not stem.startswith("11") else set()
    testing = {"labelling", "protocol"} if stem.startswith("05") else set()
    assert names | watching | testing | {"held_out"} == VOCABULARY


def shown_commands():
    """Chapter and parameters of each papermill line of the README and the chapters' prose."""
    prose = ["".join(c["source"]) for path in CHAPTERS for c in cells(path, "markdown")]
    for text in [(ROOT / "README.md").read_text(), *prose]:
        for line in re.findall("papermill (book/.*)", text.replace("\\\n", " ")):
            words = shlex.split(line, comments=True)
            yield words[0], [words[k + 1] for k, word in enumerate(words) if word == "-p"]


def test_every_parameter_that_is_shown_is_declared():
    commands = list(shown_commands())
    assert len(commands) >= 8
    for chapter, names in commands:
        assert set(names) <= set(papermill_module.inspect_notebook(str(ROOT / chapter))), chapter


def test_the_results_page_names_every_protocol():
    prose = "".join("".join(c["source"]) for c in cells(ROOT / "book/09-results.ipynb", "markdown"))
    protocols = set(re.findall(r"^\| `([\w+-]+)` \|", prose, flags=re.M))
    assert protocols == {*PROTOCOLS, *CIRCULATING}


def test_data_preparation(numbers):
    n = numbers("01-data-preparation")
    assert (n["training_clips"], n["training_frames"], n["test_frames"]) == (2, 96, 96)
    assert 0 < n["abnormal_frames"] < n["test_frames"]
    assert n["coverage"] > 0.5 and n["objects_per_frame"] > 1


def test_pseudo_anomalies(numbers):
    n = numbers("02-pseudo-anomalies")
    assert n["windows"] == 2 * (48 - 2) and n["sigma_at_start"] == 0.5
    assert n["change_outside_mask"] == 0


def test_model(numbers):
    n = numbers("03-model")
    assert round(n["parameters_released_512"] / 1e6, 1) == 99.0
    assert n["difference_of_long_input"] < 1e-5
    assert n["gigaflops_long"] < n["gigaflops_window"]


def test_losses(numbers):
    n = numbers("04-losses-and-sigma")
    assert n["loss_at_sigma_zero"] == pytest.approx(1, abs=1e-5) and n["loss_of_empty_mask"] == 0
    assert n["loss_restoring"] < 1 < n["loss_copying"]
    assert n["tail_share_one_channel"] > 2 * n["tail_share_three_channels"]


def test_training(numbers):
    n = numbers("05-training")
    assert n["steps"] == 2 * 10
    assert n["reconstruction"] < n["first_reconstruction"]
    assert n["sigma"] != 0.5 and n["mean_p_after"] > 0 and n["mean_q_after"] > 0


def test_scoring(numbers):
    n = numbers("06-scoring-and-evaluation")
    assert n["frames"] == 96 and 0 < n["abnormal_frames"] < 96
    aucs = [value for name, value in n.items() if name.startswith("auc")]
    assert len(aucs) == 10 and all(0 <= value <= 1 for value in aucs)
    assert n["auc of this run (ddl)"] == n["auc median"]


def test_results(numbers):
    n = numbers("09-results")
    assert n["recomputed_equal"] is True and n["records"] >= 1
    assert (n["frames"], n["abnormal_frames"]) == (2010, 1648)
    assert n["auc_headline"] > 0.92
    assert n["baselines"] >= 12 and n["trained_settings"] >= 10


def test_looks_are_counted_and_figures_recomputed(numbers):
    n = numbers("kept-honest")
    assert n["scored"] >= 10 and n["looks"] >= 30
    assert n["equal"] == n["judged"] >= 30


def test_what_matters(numbers):
    n = numbers("07-what-matters")
    assert n["trials"] >= 50 and 0 <= n["recorded"] <= n["trials"] and n["kinds"] == 6


def test_pictures_and_speed_are_drawn_from_records(numbers):
    assert numbers("08-pictures")["pairs"] in (0, DRAWN)
    n = numbers("13-speed")
    assert n["reports"] >= 1 and n["small scoring float32"] > 1


def papermill(tmp_path, *parameters, chapter="05-training", root=ROOT):
    chapter = f"book/{chapter}.ipynb"
    command = [sys.executable, "-m", "papermill", chapter, str(tmp_path / "o.ipynb")]
    return subprocess.run(
        [*command, *parameters, "--no-progress-bar"], cwd=root, capture_output=True, text=True
    )


@pytest.mark.parametrize("name, value", [("mode", "none"), ("mode", "sdl"), ("model", "unet")])
@pytest.mark.slow
def test_the_readmes_command_runs_a_chapter_with_another_value(tmp_path, name, value):
    process = papermill(tmp_path, "-p", "profile", "tiny", "-p", "seed", "1", "-p", name, value)
    assert process.returncode == 0, process.stderr[-2000:]
    assert stored_numbers(tmp_path / "o.ipynb")["steps"] > 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["-p", "p_s", "0", "-p", "p_t", "0"],
        ["-p", "indicators", "motion", "-p", "score", "flow error"],
    ],
    ids=["no pseudo-anomalies", "flow alone"],
)
@pytest.mark.slow
def test_the_exercises_of_the_second_method_run_through(tmp_path, monkeypatch, arguments):
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    process = papermill(
        tmp_path, "-p", "profile", "stpa-tiny", *arguments, chapter="14-spatio-temporal"
    )
    assert process.returncode == 0, process.stderr[-2000:]


@pytest.mark.slow
def test_footage_of_ones_own_without_labels_or_masks_runs_through(tmp_path, monkeypatch):
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    yard = demo.generate(tmp_path / "yard", training_clips=1, testing_clips=1, frames=30)
    shutil.rmtree(yard / "testing" / "masks")
    (yard / "testing" / "labels.csv").unlink()
    for chapter in ("01-data-preparation", "06-scoring-and-evaluation"):
        process = papermill(
            tmp_path, "-p", "profile", "tiny", "-p", "data", str(yard), chapter=chapter
        )
        assert process.returncode == 0, process.stderr[-2000:]
    assert "auc raw" not in stored_numbers(tmp_path / "o.ipynb")


WITHOUT = {
    "01-data-preparation": 3,
    "07-what-matters": 2,
    "08-pictures": 3,
    "09-results": 8,
    "13-speed": 2,
    "14-spatio-temporal": 3,
    "15-which-pseudo-anomaly": 5,
    "12-trust-in-a-watch": 7,
    "kept-honest": 3,
}  # chapter -> how many cells must say at least that something was not run


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A copy of the project in which no run is recorded."""
    root = tmp_path_factory.mktemp("bare")
    for name in ("ddllib", "data_prep", "book"):
        leave = shutil.ignore_patterns("results", "__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, root / name, ignore=leave)
    return root


@pytest.mark.parametrize("stem", WITHOUT)
@pytest.mark.slow
def test_without_records_pages_say_that_nothing_was_run(stem, bare, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(bare))
    monkeypatch.setenv("DDL_RUNS", str(bare / "runs"))
    profile = "stpa-tiny" if stem.startswith("14") else "tiny"
    process = papermill(bare, "-p", "profile", profile, chapter=stem, root=bare)
    assert process.returncode == 0, process.stderr[-2000:]
    notes = [
        output
        for cell in cells(bare / "o.ipynb", "code")
        for output in map(json.dumps, cell["outputs"])
        if "not run" in output.lower() or "not drawn" in output
    ]
    assert len(notes) >= WITHOUT[stem]
    if stem == "09-results":
        n = stored_numbers(bare / "o.ipynb")
        assert (n["records"], n["auc_headline"]) == (0, None)
        assert (n["baselines"], n["trained_settings"]) == (0, 0)
        assert n["recomputed_equal"] is False


def test_a_chapter_of_one_method_refuses_the_profile_of_another():
    with pytest.raises(DDLError, match="profile tiny: trains method ddl; expected stpa"):
        chapter_settings({"profile": "tiny"}, method="stpa")


@pytest.mark.slow
def test_an_unknown_parameter_stops_a_chapter_with_one_line(tmp_path):
    process = papermill(tmp_path, "-p", "profile", "tiny", "-p", "sede", "1", chapter="03-model")
    assert process.returncode != 0
    line = "DDLError: parameters: unknown parameter 'sede'; did you mean 'seed'?"
    assert process.stderr.split('Exception encountered at "In [')[1].splitlines()[1:2] == [line]
    errors = [o for c in cells(tmp_path / "o.ipynb", "code") for o in c["outputs"]]
    (error,) = [output for output in errors if output["output_type"] == "error"]
    assert error["traceback"] == [line] and error["ename"] == "DDLError"


@pytest.mark.slow
def test_a_known_parameter_is_taken_without_a_warning(tmp_path):
    arguments = ["-p", "profile", "tiny", "-p", "epochs", "1", "-p", "size", "32"]
    process = papermill(tmp_path, *arguments)
    assert process.returncode == 0, process.stderr[-2000:]
    assert "unknown parameter" not in process.stderr


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_figure_is_shown_once_or_reported_as_missing(executed_chapters, path):
    executed = executed_chapters.executed(f"book/{path.stem}").read_text()
    for cell in json.loads(executed)["cells"]:
        source = "".join(cell["source"]).replace("plots.set_style", "")
        outputs = cell.get("outputs", [])
        images = [o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {})]
        assert len(set(images)) == len(images), source  # not by display and by matplotlib as well
        if re.search(r"\b(plots|event_plots|diagrams)\.\w+\(", source):
            # A barely trained model may see no event: whether it does depends on the processor.
            text = "".join("".join(o.get("text", "")) for o in outputs)
            assert images or re.search(r"not run|^No ", text, re.MULTILINE), source


def test_kernels_of_this_environment_come_before_those_of_another(tmp_path, monkeypatch):
    spec = tmp_path / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = ["/no/such/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "another", "language": "python"}))
    for search_path in (str(tmp_path), ""):
        monkeypatch.setenv("JUPYTER_PATH", search_path)
        find_own_kernel()
        folder = KernelSpecManager().get_kernel_spec("python3").resource_dir
        assert folder.startswith(sys.prefix)
        assert os.environ["JUPYTER_PATH"].split(os.pathsep)[1:] == [search_path] * bool(search_path)
