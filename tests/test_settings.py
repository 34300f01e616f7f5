"""The vocabulary of parameters, profiles, and where data and runs are looked for."""

import pytest

from ddllib import DDLError, Settings, load_profile, paths, settings
from ddllib.figures.parameters import chapter_settings
from ddllib.paths import PROFILES, ROOT
from ddllib.settings import VOCABULARY


def test_every_profile_loads_and_names_itself():
    names = {path.stem for path in PROFILES.glob("*.yaml")}
    assert {"demo", "tiny", "ped2-cpu", "ped2"} <= names
    assert all(load_profile(name).profile == name for name in names)


def test_the_demo_profile_is_the_default():
    assert load_profile("demo") == Settings()


def test_a_parameter_wins_over_the_profile_and_none_keeps_it():
    profile = load_profile("demo", seed=7, epochs=None)
    assert profile.seed == 7 and profile.epochs == load_profile("demo").epochs


def test_an_unknown_parameter_is_an_error_with_a_hint():
    with pytest.raises(DDLError, match="unknown parameter 'sede'; did you mean 'seed'"):
        load_profile("demo", sede=1)


def test_a_chapter_takes_what_its_notebook_sets():
    class Model:
        pass

    namespace = {"profile": "tiny", "seed": 3, "mode": None, "model": Model(), "other": 5}
    chapter = chapter_settings(namespace)
    assert (chapter.profile, chapter.seed, chapter.mode, chapter.model) == (
        "tiny",
        3,
        "ddl",
        "c3dsu",
    )


def test_a_name_injected_by_papermill_must_be_known():
    cells = ["", "seed = 0", "# Parameters\nsede = 1\n"]
    with pytest.raises(DDLError, match="unknown parameter 'sede'"):
        chapter_settings({"profile": "tiny", "sede": 1, "In": cells})


def test_a_value_written_by_hand_must_be_one_that_a_profile_could_hold():
    cell = 'profile = "tiny"\nepochs = None\nsize = (96, 96)\n'
    cells = ["%matplotlib inline", "size = 96", cell, "model = Model()", "x = 1"]
    with pytest.raises(DDLError, match=r"parameters: size is \(96, 96\); expected text, a number"):
        chapter_settings({"profile": "tiny", "size": (96, 96), "In": cells})
    named_alike = {"profile": "tiny", "size": 32, "model": object(), "In": cells}
    assert chapter_settings(named_alike).size == 32


def test_a_run_to_start_from_is_a_folder(tmp_path):
    (tmp_path / "weights.pt").touch()
    settings = load_profile("tiny", start_from=str(tmp_path / "weights.pt"))
    with pytest.raises(DDLError, match="start_from: .*weights.pt is a file; expected the folder"):
        _ = settings.start_folder


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"mode": "dll"}, "mode is 'dll'; expected one of none, sdl, ddl"),
        ({"size": 100}, "multiple of 16"),
        ({"epochs": -1}, "epochs is -1"),
        ({"epochs": "ten"}, "epochs is 'ten'"),
        ({"batch_size": True}, "batch_size is True"),
        ({"precision": "float16"}, "precision"),
        ({"protocol": "best"}, "protocol is 'best'"),
        ({"learning_rate": "1e-2"}, "learning_rate is '1e-2'; expected a number"),
        ({"distinction_weight": -1.0}, "distinction_weight is -1.0"),
        ({"patch": 0}, "patch is 0; expected a whole number from 1 to 96"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"watch": True}, "watch is True; expected text"),
        ({"watch_minutes": 0}, "watch_minutes is 0; expected a number"),
        ({"ignore": 5}, "ignore is 5; expected an image's path or"),
    ],
)
def test_values_are_checked(changes, word):
    with pytest.raises(DDLError, match=word):
        load_profile("demo", **changes)


def test_a_webcam_may_be_named_by_its_number():
    """As ``papermill -p watch 0`` gives it."""
    assert Settings(watch=0).watch == Settings(watch="0").watch == "0"


@pytest.mark.parametrize(
    "text, word",
    [
        ("sede: 1\n", "bad.yaml: unknown parameter 'sede'"),
        ("- 1\n", "expected one `name: value`"),
        ("a: [1\n", "not plain YAML"),
        ("seed: !!python/object/apply:os.getcwd []\n", "not plain YAML"),
    ],
)
def test_a_bad_profile_is_reported(tmp_path, monkeypatch, text, word):
    monkeypatch.setattr(settings, "PROFILES", tmp_path)
    monkeypatch.setattr(settings, "OWN_PROFILES", tmp_path / "none")
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(DDLError, match=word):
        load_profile("bad")
    with pytest.raises(DDLError, match="expected one of bad"):
        load_profile("good")


def test_folders_count_from_the_projects_root(monkeypatch, tmp_path):
    monkeypatch.setenv("DDL_DATA", "some/where")
    monkeypatch.delenv("DDL_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert paths.data_root() == ROOT / "some/where"
    assert paths.runs_root() == ROOT / "runs"
    monkeypatch.setenv("DDL_DATA", str(tmp_path))
    assert paths.data_root() == tmp_path


def test_what_is_not_found_is_reported_with_where_it_was_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("DDL_DATA", str(tmp_path))
    (tmp_path / "yard").mkdir()
    assert paths.find_path("yard") == tmp_path / "yard"
    with pytest.raises(DDLError, match="barn: not found; looked at .*barn"):
        paths.find_path("barn")


def test_a_long_value_makes_no_name_that_a_disk_refuses(small_settings):
    folders = {small_settings(weights="n" * k).run_folder for k in (300, 301)}
    assert len(folders) == 2 and max(len(f.name) for f in folders) < 250


def test_the_vocabulary_is_the_settings_fields():
    assert set(Settings().asdict()) == VOCABULARY


def test_a_missing_gpu_is_reported():
    import torch

    from ddllib.devices import resolve_device

    if torch.cuda.is_available():
        assert resolve_device("cuda").type == "cuda"
    else:
        with pytest.raises(DDLError, match="no GPU is found"):
            resolve_device("cuda")
    with pytest.raises(DDLError, match="expected cpu, cuda or auto"):
        resolve_device("abacus")


def test_boxes_to_ignore_come_as_text_from_papermill():
    values = {"profile": "tiny", "ignore": "[[0, 0, 0.5, 0.2]]"}
    assert chapter_settings(values).ignore == [[0, 0, 0.5, 0.2]]
    assert chapter_settings({**values, "ignore": "yard.png"}).ignore == "yard.png"
    with pytest.raises(DDLError, match="ignore .*: no boxes; expected"):
        chapter_settings({**values, "ignore": "[[0, 0, 0.5"})
