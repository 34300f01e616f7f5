"""Parse names with weights from one text, such as ``0.7 noise + 0.3 skipped frames``."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection

from ddllib.errors import DDLError


def weighted(setting: str, text: str, known: Collection[str], what: str) -> dict[str, float]:
    """Weights above 0 by name, as ``text`` gives them; a name alone has 1.

    ``known`` are the allowed names and ``what`` describes them in messages; ``text`` is the value
    of ``setting``. Raises ``DDLError`` for another name, a name given twice, or no weight above 0.
    """
    weights: dict[str, float] = {}
    for part in text.split("+"):
        number, name = re.fullmatch(r"\s*([\d.]+(?:e-?\d+)?\s+)?(.*?)\s*", part, re.S).groups()
        try:
            weight = float(number or 1)
        except ValueError:
            weight = math.nan
        if name not in known:
            matches = difflib.get_close_matches(name, known, n=1)
            hint = f"expected some of {', '.join(known)}"
            if matches:
                hint = f"did you mean {matches[0]!r}?"
            raise DDLError(f"{setting}: {name!r} is none of the {what}; {hint}")
        if name in weights or not 0 < weight < math.inf:
            raise DDLError(
                f"{setting} is {text!r}; expected each name once, with a weight above 0, such as "
                f"0.5 {name}"
            )
        weights[name] = weight
    return weights
