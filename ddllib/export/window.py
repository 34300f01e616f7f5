"""A window of frames to a score and a map: the part of a run that is exported."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ddllib.errors import DDLError
from ddllib.methods import Method, method_of
from ddllib.score_terms.terms import Terms
from ddllib.scoring import Scorer
from ddllib.settings import Settings

OPSET = 17  # of ONNX; old enough for runtimes of several years
INPUT, OUTPUTS = "frames", ("score", "map")


class ScoredWindow(nn.Module):
    """A model and its score in one: uint8 N x T x C0 x H x W to scores N and maps N x H x W.

    Each of the N windows is T frames, one after the other; the frame at T // 2 is scored, as
    ``scorer`` does it with its patch, terms, constants and ignored pixels. Scores and maps are
    float32.
    """

    def __init__(self, model: nn.Module, scorer: Scorer):
        super().__init__()
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.scorer = scorer

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        x = (frames.float() / 255).expand(-1, -1, self.model.channels, -1, -1)
        y = self.model(x.transpose(1, 2))[:, :, 0]
        judged = self.scorer.judge(frames=(x[:, self.scorer.before], y))
        return judged.scores, judged.maps


def check_exportable(settings: Settings, run: str) -> None:
    """Raise ``DDLError`` where a window of frames alone does not decide about the score.

    ``run`` names the run in the message.
    """
    if type(method_of(settings)).scorer is not Method.scorer:
        raise DDLError(
            f"{run}: method {settings.method} scores by more than one model's answer to a window "
            "of frames, which cannot be exported; export a run of another method, such as ddl"
        )
    for name, (_, term) in Terms(settings.score).items():
        if term.of != "frames":
            raise DDLError(
                f"{run}: the term {name!r} of its score needs {term.of}, which a window of frames "
                "does not have, and cannot be exported; make the run ready with another score, "
                "such as distance"
            )


def as_onnx(window: ScoredWindow, channels: int, size: tuple[int, int]) -> bytes:
    """The graph of ``window`` in ONNX's form, for frames of this size, C0 = ``channels``.

    The number of windows N stays free. Raises ``DDLError`` for a model that PyTorch cannot trace.
    """
    example = torch.zeros((1, window.model.temporal, channels, *size), dtype=torch.uint8)
    free = {name: {0: "N"} for name in (INPUT, *OUTPUTS)}
    return graph_of(window, {INPUT: example}, OUTPUTS, free)


def graph_of(
    module: nn.Module,
    examples: Mapping[str, Tensor],
    outputs: Sequence[str],
    free: Mapping[str, Mapping[int, str]] | None = None,
) -> bytes:
    """A module as a graph in ONNX's form: ``examples`` of its inputs by name, names of its outputs.

    ``free`` names axes of any length, by input or output. Raises ``DDLError`` for a module that
    PyTorch cannot trace.
    """
    file = io.BytesIO()
    try:
        with warnings.catch_warnings():
            # PyTorch warns that checks of shapes are not traced, and that a newer exporter exists;
            # that one needs one more package, and gives no other result here.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                tuple(examples.values()),
                file,
                dynamo=False,
                opset_version=OPSET,
                input_names=list(examples),
                output_names=list(outputs),
                dynamic_axes=free,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DDLError(f"PyTorch cannot write this model as a graph ({reason})") from None
    return file.getvalue()
