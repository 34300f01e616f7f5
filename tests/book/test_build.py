"""The build of the book, tried on a small book of one notebook and one page."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import build as command
import nbformat
import pytest
from build import Layout, build, run_chapters, stored_numbers
from chapters import check_parameters, fingerprints, pages, profile_of, remember, stale
from cleaning import NUMBERS, clean
from nbformat import v4

from ddllib.errors import DDLError

PARAMETERS = 'profile = "demo"\nseed = None'
CHAPTER = f"""
import os, sys, time, warnings
from IPython.display import display
from tqdm import tqdm
for step in tqdm(range(20), desc="training", mininterval=0):
    time.sleep(0.005)
for step in tqdm(iter(range(20)), mininterval=0):
    pass
warnings.warn("sigma has not moved")
print("written to", os.path.abspath("../runs/demo"), "by", sys.executable)
display({{"{NUMBERS}": {{"auc": 0.75, "clips": 3}}, "text/plain": "auc = 0.75"}}, raw=True)
os.makedirs("../runs/demo", exist_ok=True)
"""


def write_chapter(root: Path, code: str, parameters: str = PARAMETERS, name: str = "one") -> None:
    cells = [
        v4.new_markdown_cell(f"# Chapter {name}", id="title"),
        v4.new_code_cell(parameters, id="parameters", metadata={"tags": ["parameters"]}),
        v4.new_code_cell(code, id="body"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(v4.new_notebook(cells=cells, metadata=kernel), root / "book" / f"{name}.ipynb")


def write_book(root: Path) -> Layout:
    folders = "book/profiles", "book/experiments", "book/results", "ddllib", "data_prep/facts"
    for folder in folders:
        (root / folder).mkdir(parents=True)
    (root / "book" / "profiles" / "demo.yaml").write_text("epochs: 1\n")
    (root / "ddllib" / "losses.py").write_text("# a library\n")
    (root / "book" / "index.md").write_text("# Front\n\nSee {doc}`one`.\n")
    (root / "README.md").write_text("# Small\n")
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n  - file: book/one\n"
    )
    (root / "_config.yml").write_text(
        "title: Small\nexecute: {execute_notebooks: 'off'}\nonly_build_toc_files: true\n"
        "sphinx: {config: {suppress_warnings: [mystnb.unknown_mime_type]}}\n"
    )
    write_chapter(root, CHAPTER)
    return Layout(root, root / "_build", "demo")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Layout:
    """The small book, built once; a test that changes a source puts it back."""
    layout = write_book(tmp_path_factory.mktemp("small"))
    build(layout)
    return layout


def site_text(layout: Layout) -> dict[str, str]:
    return {p.name: p.read_text() for p in sorted((layout.out / "html").rglob("*.html"))}


@pytest.fixture
def restored(built):
    """The built book; its sources are put back afterwards, and its site must not have changed."""
    sources = [p for p in (built.root / "book").rglob("*") if p.is_file()]
    before = {path: path.read_text() for path in sources}
    site = site_text(built)
    yield built
    for path, text in before.items():
        path.write_text(text)
    assert site_text(built) == site, "the earlier site has to stay as it was"


def test_the_executed_copy_is_clean(built):
    text = built.executed("book/one").read_text()
    for absent in ("it/s", "%|", "training:", "papermill", str(built.root), sys.prefix):
        assert absent not in text, absent
    assert "sigma has not moved" in text
    assert "written to runs/demo by .venv/bin/python" in text


def test_the_site_shows_the_executed_copy(built):
    pages_built = site_text(built)
    assert {"index.html", "one.html"} <= set(pages_built)
    assert "auc = 0.75" in pages_built["one.html"]
    assert "# Parameters" not in pages_built["one.html"], "papermill's own cell is not shown"


def test_stored_numbers_are_read_back(built):
    assert stored_numbers(built.executed("book/one")) == {"auc": 0.75, "clips": 3}


def test_a_number_stored_twice_is_an_error():
    output = v4.new_output("display_data", data={NUMBERS: {"auc": 0.5}})
    cells = [v4.new_code_cell(outputs=[output]) for _ in range(2)]
    with pytest.raises(DDLError, match="'auc' is stored twice"):
        stored_numbers(v4.new_notebook(cells=cells))


def test_an_unchanged_book_runs_nothing(built, capsys):
    before = (built.out / "html" / "book" / "one.html").stat().st_mtime_ns
    build(built)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "one: unchanged"
    assert lines[-1] == "0 chapters run, 1 unchanged; site unchanged: _build/html/index.html"
    assert (built.out / "html" / "book" / "one.html").stat().st_mtime_ns == before


def test_a_failing_chapter_is_not_published(restored):
    write_chapter(restored.root, "steps = 3\nraise ValueError('sigma is NaN\\nat step 3')")
    with pytest.raises(DDLError) as error:
        build(restored)
    assert re.fullmatch(
        r"book/one\.ipynb: In \[\d\] ValueError: sigma is NaN \(see _build/failed/book/one\.log\)",
        str(error.value),
    )
    assert "steps = 3" in (restored.out / "failed" / "book" / "one.ipynb").read_text()
    assert "ValueError" in (restored.out / "failed" / "book" / "one.log").read_text()
    assert "sigma has not moved" in restored.executed("book/one").read_text()


def test_a_broken_reference_is_not_published(restored, capsys):
    (restored.root / "book" / "index.md").write_text("# Front\n\nSee {doc}`nowhere`.\n")
    with pytest.raises(DDLError, match="Jupyter Book did not build the site"):
        build(restored)
    assert re.search(r"^book/index\.md:3: WARNING: .*nowhere", capsys.readouterr().err, re.M)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ('profile = "demo"\nsede = 3', "unknown parameter 'sede'; did you mean 'seed'"),
        ("seed = 3", "no parameter `profile`"),
    ],
)
def test_a_wrong_parameter_is_an_error_before_any_run(restored, parameters, complaint):
    write_chapter(restored.root, "open('ran', 'w')", parameters)
    with pytest.raises(DDLError, match=complaint):
        build(restored)
    assert not (restored.root / "book" / "ran").exists()


@pytest.mark.parametrize(
    "default, built, expected",
    [
        ("demo", "night", "night"),
        ("other-demo", "demo", "other-demo"),
        ("other-demo", "night", "other-night"),
        ("other-demo", "day", "other-demo"),
    ],
)
def test_a_chapter_of_another_method_has_profiles_of_its_own(tmp_path, default, built, expected):
    layout = write_book(tmp_path)
    for name in ("other-demo", "other-night"):
        (layout.profile_file.parent / f"{name}.yaml").write_text("epochs: 1\n")
    write_chapter(layout.root, CHAPTER, PARAMETERS.replace("demo", default))
    assert profile_of(replace(layout, profile=built), "book/one") == expected


def test_a_profile_is_checked(restored):
    with pytest.raises(DDLError, match=r"night\.yaml: no such profile .* expected one of demo"):
        build(Layout(restored.root, restored.out, "night"))
    restored.profile_file.write_text("epoch: 1\n")
    with pytest.raises(DDLError, match=r"demo\.yaml: unknown parameter 'epoch'"):
        build(restored)


def test_the_command_fails_with_one_line(restored, capsys, monkeypatch):
    monkeypatch.setattr(command, "ROOT", restored.root)
    monkeypatch.setattr(sys, "argv", ["build.py", "--profile", "night"])
    assert command.main() == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def two(tmp_path) -> Layout:
    """A book of two notebooks, as far as fingerprints are concerned."""
    layout = write_book(tmp_path)
    write_chapter(tmp_path, "2 + 2", name="two")
    with (tmp_path / "_toc.yml").open("a") as toc:
        toc.write("  - file: book/two\n")
    return layout


def test_pages_follow_the_toc(two):
    assert pages(two.root) == ["book/index", "book/one", "book/two"]


@pytest.mark.parametrize("text", ["- 1\n", "a: [\n", "root: book/index\nchapters: 3\n"])
def test_a_broken_table_of_contents_is_reported(two, text):
    (two.root / "_toc.yml").write_text(text)
    with pytest.raises(DDLError, match="_toc.yml"):
        fingerprints(two)


def test_a_chapter_that_is_no_notebook_is_reported(two):
    two.source("book/two").write_bytes(b"\xff\xfe")
    with pytest.raises(DDLError, match="book/two.ipynb: not a notebook"):
        fingerprints(two)


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("book/one.ipynb", "# Chapter one", "# Chapter 1", {"book/one"}),
        ("book/one.ipynb", "sigma has not moved", "sigma", {"book/one", "book/two"}),
        ("book/two.ipynb", "2 + 2", "2 + 3", {"book/two"}),
        ("book/profiles/demo.yaml", "1", "2", {"book/one", "book/two"}),
        ("ddllib/losses.py", "a", "another", {"book/one", "book/two"}),
        ("ddllib/events.html", "", "<p>", {"book/one", "book/two"}),
        ("book/studies/one.py", "", "x = 1", {"book/one", "book/two"}),
        ("book/results/run.json", "", "{}", {"book/one", "book/two"}),
        ("book/profiles/other.yaml", "", "size: 32", {"book/one", "book/two"}),
        ("book/experiments/small.yaml", "", "grid: {}", {"book/one", "book/two"}),
        ("data_prep/facts/ped2.yaml", "", "clips: {}", {"book/one", "book/two"}),
        ("constraints.txt", "", "torch==2.11.0", {"book/one", "book/two"}),
        ("book/index.md", "Front", "Cover", set()),
    ],
)
def test_what_makes_a_chapter_run_again(two, file, old, new, expected):
    before = fingerprints(two)
    path = two.root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.read_text().replace(old, new) if path.is_file() else new)
    after = fingerprints(two)
    assert {page for page in after if after[page] != before[page]} == expected


def test_lost_runs_make_every_chapter_run_again(two):
    marks = fingerprints(two)
    two.executed("book/one").parent.mkdir(parents=True)
    for page in marks:
        two.executed(page).touch()
        remember(two, page, marks[page] if page == "book/one" else "changed since")
    two.runs.mkdir(parents=True)
    assert stale(two, marks) == {"book/two"}
    two.runs.rmdir()
    assert stale(two, marks) == {"book/one", "book/two"}


def test_an_executed_copy_that_is_not_as_it_was_runs_again(two):
    marks = fingerprints(two)
    two.runs.mkdir(parents=True)
    for page in marks:
        two.executed(page).parent.mkdir(parents=True, exist_ok=True)
        two.executed(page).write_text("{}")
        remember(two, page, marks[page])
    assert stale(two, marks) == set()
    two.executed("book/one").write_text("{")
    assert stale(two, marks) == {"book/one"}
    two.fingerprints.write_text('{"book/one": ')
    assert stale(two, marks) == {"book/one", "book/two"}


def test_a_full_disk_leaves_the_executed_copy_and_the_site_as_they_were(tmp_path, disk):
    """No site is built: the chapter fails before."""
    layout = replace(write_book(tmp_path), out=disk.folder)
    write_chapter(tmp_path, "print('first')")
    run_chapters(layout)
    before = layout.executed("book/one").read_text()
    write_chapter(tmp_path, "print('second')")
    with disk.full(), pytest.raises(DDLError, match=r"cannot be written|In \[\d\]") as error:
        build(layout)
    assert "No space left" in str(error.value) or "File too large" in str(error.value)
    assert layout.executed("book/one").read_text() == before
    assert run_chapters(layout) == (1, 0)
    assert "second" in layout.executed("book/one").read_text()


def test_a_chapter_of_another_method_runs_beside_the_others_and_is_kept(tmp_path):
    layout = write_book(tmp_path)
    toc = tmp_path / "_toc.yml"
    toc.write_text(toc.read_text() + "  - file: book/other\n")
    (tmp_path / "book" / "profiles" / "stpa-demo.yaml").write_text("epochs: 1\n")
    wait = "from time import sleep\nfrom os.path import exists\n"
    wait += "for k in range(1200):\n    sleep(0.05 * (not exists('met')))\n"
    write_chapter(tmp_path, wait + "raise ValueError('no such clip')")
    other = "import os\nopen('met', 'w').close()\nprint('threads', os.environ['OMP_NUM_THREADS'])"
    write_chapter(tmp_path, other, PARAMETERS.replace("demo", "stpa-demo"), name="other")
    layout.runs.mkdir(parents=True)
    with pytest.raises(DDLError, match="one.ipynb: .* no such clip"):
        run_chapters(layout)
    assert "threads 1" in layout.executed("book/other").read_text()
    write_chapter(tmp_path, wait)
    assert stale(layout, marks := fingerprints(layout)) == {"book/one", "book/other"}
    assert run_chapters(layout) == (2, 0) and stale(layout, marks) == set()


def test_parameters_of_the_small_book_pass(two):
    check_parameters(two, "book/one")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\r  0%|          | 0/9 [00:00<?, ?it/s]\r100%|####| 9/9 [00:01<00:00,  7.4it/s]\n", ""),
        ("\repoch 3:  12%|█▏        | 3/25 [00:31<03:51, 10.5s/it]", ""),
        ("9it [00:01, 8.10it/s]\n", ""),
        ("\r 50%|#####     | 1/2\nUserWarning: l is frozen\n", "UserWarning: l is frozen\n"),
        ("\r 50%|##| 1/2\rUserWarning: l is frozen\n", "UserWarning: l is frozen\n"),
        ("UserWarning: 3 of 9 clips\n", "UserWarning: 3 of 9 clips\n"),
    ],
)
def test_only_progress_bars_are_stripped(tmp_path, text, expected):
    stream = v4.new_output("stream", name="stderr", text=text)
    notebook = clean(v4.new_notebook(cells=[v4.new_code_cell(outputs=[stream])]), tmp_path)
    assert "".join(output.text for output in notebook.cells[0].outputs) == expected


def test_paths_are_rewritten_in_text_only(tmp_path, monkeypatch):
    monkeypatch.setenv("DDL_DATA", str(tmp_path.parent / "footage"))
    text = f"{tmp_path}/runs/x {tmp_path} {tmp_path.parent}/footage/ped2 {tmp_path}-else/y"
    output = v4.new_output("display_data", data={"text/plain": text, "image/png": text})
    notebook = clean(v4.new_notebook(cells=[v4.new_code_cell(outputs=[output])]), tmp_path)
    data = notebook.cells[0].outputs[0].data
    assert data["text/plain"] == f"runs/x . $DDL_DATA/ped2 {tmp_path}-else/y"
    assert data["image/png"] == text


def test_embedded_films_are_left_as_they_are_and_what_stands_around_them_is_not(tmp_path):
    film = "data:video/webm;base64," + "QUJD" * 1_000_000  # searched letter by letter: minutes
    text = f'<p>{tmp_path}/a.png</p><video src="{film}"></video><p>{tmp_path}/b.png</p>'
    output = v4.new_output("display_data", data={"text/html": text})
    notebook = clean(v4.new_notebook(cells=[v4.new_code_cell(outputs=[output])]), tmp_path)
    expected = f'<p>a.png</p><video src="{film}"></video><p>b.png</p>'
    assert notebook.cells[0].outputs[0].data["text/html"] == expected


def test_other_footage_makes_every_chapter_run_again(two, tmp_path, monkeypatch):
    monkeypatch.setenv("DDL_DATA", str(tmp_path))
    two.profile_file.write_text("data: yard\n")
    marks = [fingerprints(two)]  # nothing there yet
    (tmp_path / "yard").mkdir()
    (tmp_path / "yard" / "labels.csv").write_text("clip,first,last\n")
    marks.append(fingerprints(two))
    (tmp_path / "yard" / "labels.csv").write_text("clip,first,last\na,1,2\n")
    marks += [fingerprints(two), fingerprints(two)]
    for page in ("book/one", "book/two"):
        assert len({mark[page] for mark in marks}) == 3 and marks[-1] == marks[-2]
