"""The weights of a published run: one file beside its record, by which it can be scored again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ddllib.errors import DDLError
from ddllib.io.files import writing
from ddllib.runs import Run
from ddllib.settings import Settings
from ddllib.training import new_run

NAME = "weights.safetensors"
MOST = 8_000_000  # bytes; larger ones would weigh down every copy of the project


def write_weights(run: Run, folder: Path) -> Path:
    """Write all models of a run into ``folder``, every bit of them; returns the file.

    Raises ``DDLError`` where they take more than ``MOST`` bytes.
    """
    from safetensors.torch import save

    tensors = {
        f"{model}.{name}": value.detach().cpu().contiguous()
        for model, module in run.models.items()
        for name, value in module.state_dict().items()
    }
    content = save(tensors)
    if len(content) > MOST:
        raise DDLError(
            f"{run.folder}: its weights take {len(content) / 1e6:.1f} MB; expected at most "
            f"{MOST / 1e6:.0f}, to be published; publish the record without them"
        )
    with writing(folder / NAME) as file:
        file.write(content)
    return folder / NAME


def run_of(settings: Settings, folder: Path) -> Run:
    """A run with the published weights in ``folder``, ready to score.

    Where a run has several scores, the weights lie beside the record of its first one. Raises
    ``DDLError`` where they are missing, damaged or those of another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / NAME
    if not path.is_file():
        path = folder.with_name(settings.run_folder.name) / NAME
    if not path.is_file():
        raise DDLError(
            f"{path}: not there; this record was published without weights; leave out --scores, "
            "to train again"
        )
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise DDLError(f"{path}: damaged ({reason}); get it anew") from error
    run = replace(new_run(settings), epoch=settings.epochs)
    for model, module in run.models.items():
        start = f"{model}."
        own = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:160]
            raise DDLError(f"{path}: weights of another model ({reason}); get it anew") from error
    run.train(False)
    return run
