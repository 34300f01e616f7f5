"""A known data set from its official address, or what a person has to do to get it."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from data_prep.datasets import DataSet
from data_prep.download import Archive, download
from data_prep.survey import faults, survey
from ddllib.errors import DDLError


def get(
    dataset: DataSet, folder: str | Path, mirror: str | None = None, progress: bool = True
) -> None:
    """Fetch a data set into `folder` and unpack it; nothing is done where it is whole already.

    `mirror`: the address of a folder that holds the official files, used instead of their own.
    Raises DDLError as `download` does, and with the way to go where only a person can get it.
    """
    folder = Path(folder)
    if is_there(dataset, folder):
        return
    if dataset.by_hand:
        raise DDLError(dataset.by_hand.format(folder=folder))
    archives = [archive_of(facts, mirror) for facts in dataset.archives]
    if not dataset.folder:
        download(archives, folder, progress)
        return
    whole = folder / ".archive"  # apart, because more than the wanted comes out of it
    download(archives, whole, progress)
    keep_only(whole, dataset.folder, folder / dataset.folder)


def is_there(dataset: DataSet, folder: Path) -> bool:
    """Whether the folder holds the whole of the data set."""
    try:
        return not faults(survey(folder, dataset.name))
    except DDLError:
        return False


def archive_of(facts: Mapping, mirror: str | None) -> Archive:
    """The archive of one row of the facts; a mirror has the same file under its own address."""
    if mirror is None:
        return Archive(**facts)
    return Archive(**{**facts, "address": f"{mirror.rstrip('/')}/{Path(facts['address']).name}"})


def keep_only(whole: Path, name: str, target: Path) -> None:
    """Of an unpacked archive that holds several data sets, keep the one in the folder `name`."""
    found = sorted(whole.glob(f"*/{name}"))
    if not found:
        raise DDLError(f"{whole}: no folder {name} in the archive; expected the official one")
    if target.exists():
        raise DDLError(f"{target}: exists already and is not whole; move it away and run again")
    os.replace(found[0], target)
    shutil.rmtree(whole)
