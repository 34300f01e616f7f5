"""The formats of an exported run: how a graph becomes a file, and how such a file is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from ddllib.errors import DDLError
from ddllib.export.window import INPUT, OUTPUTS

# Windows, uint8 N x T x C0 x H x W, to scores N and maps N x H x W.
Ask = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
THREADS = 1  # files are asked here to be checked, and to be measured beside one thread of PyTorch
PROJECT = "ddllib"  # the section of an OpenVINO file that holds the facts


@dataclass(frozen=True)
class Format:
    """One format of files.

    ``suffix`` ends a file's name, ``packages`` are needed. ``write(graph, facts, path)`` takes a
    graph in ONNX's form and plain facts by name, and leaves one or several files with the stem of
    ``path``; ``opened(path)`` reads them back, to be asked in float32.
    """

    suffix: str
    packages: tuple[str, ...]
    write: Callable[[bytes, Mapping[str, str], Path], None]
    opened: Callable[[Path], Ask]

    def check_packages(self) -> None:
        """Raise ``DDLError`` where a package is not installed."""
        for package in self.packages:
            try:
                import_module(package)
            except ImportError:
                raise DDLError(
                    f"the package {package} is not installed; install it by pip: "
                    f"{' '.join(self.packages)}"
                ) from None


def _write_onnx(graph: bytes, facts: Mapping[str, str], path: Path) -> None:
    import onnx

    model = onnx.load_from_string(graph)
    onnx.helper.set_model_props(model, dict(facts))
    path.write_bytes(model.SerializeToString())


def _open_onnx(path: Path) -> Ask:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=providers)
    return lambda windows: tuple(session.run(list(OUTPUTS), {INPUT: windows}))


def _write_openvino(graph: bytes, facts: Mapping[str, str], path: Path) -> None:
    import openvino

    model = openvino.Core().read_model(graph)
    for name, value in facts.items():
        model.set_rt_info(value, [PROJECT, name])
    openvino.save_model(model, path, compress_to_fp16=False)


def _open_openvino(path: Path) -> Ask:
    ask = compiled(path)
    return lambda windows: tuple(ask({INPUT: windows}))


def compiled(
    model: Path | bytes, precision: str = "f32", threads: int = THREADS
) -> Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]:
    """A file, or a graph in ONNX's form, as OpenVINO asks it: inputs by name to its outputs.

    ``precision`` is OpenVINO's word, f32 or bf16.
    """
    import openvino

    core = openvino.Core()
    # Where the processor multiplies bfloat16, OpenVINO takes it by itself.
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    ask = core.compile_model(core.read_model(model), "CPU", options)
    return lambda inputs: [np.array(values) for values in ask(dict(inputs)).to_tuple()]


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxruntime"), _write_onnx, _open_onnx),
    "openvino": Format(".xml", ("onnx", "openvino"), _write_openvino, _open_openvino),
}
