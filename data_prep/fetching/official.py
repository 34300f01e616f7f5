"""Fetch a known data set from its official address, or say what a person has to do to get it."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from data_prep.fetching.download import Archive, download
from data_prep.footage.datasets import DataSet
from data_prep.footage.survey import faults, survey
from ddllib.errors import DDLError


def get(
    dataset: DataSet, folder: str | Path, mirror: str | None = None, progress: bool = True
) -> None:
    """Fetch a data set into `folder` and unpack it, unless it is complete already.

    `mirror`: the address of a folder that holds the official files, used instead of their own.
    Raises DDLError as `download` does, and with instructions if only a person can get it.
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
    unpacked = folder / ".archive"  # the archive holds other data sets, too
    download(archives, unpacked, progress)
    keep_only(unpacked, dataset.folder, folder / dataset.folder)


def is_there(dataset: DataSet, folder: Path) -> bool:
    """Whether the folder holds the complete data set."""
    try:
        return not faults(survey(folder, dataset.name))
    except DDLError:
        return False


def archive_of(facts: Mapping, mirror: str | None) -> Archive:
    """The archive in one row of the facts, at its own address or at the mirror's."""
    if mirror is None:
        return Archive(**facts)
    return Archive(**{**facts, "address": f"{mirror.rstrip('/')}/{Path(facts['address']).name}"})


def keep_only(whole: Path, name: str, target: Path) -> None:
    """Keep the folder `name` of an unpacked archive with several data sets, remove the rest."""
    folders = sorted(whole.glob(f"*/{name}"))
    if not folders:
        raise DDLError(f"{whole}: no folder {name} in the archive; expected the official one")
    if target.exists():
        raise DDLError(
            f"{target}: exists already and is not whole; rename it, or give another folder"
        )
    os.replace(folders[0], target)
    shutil.rmtree(whole)
