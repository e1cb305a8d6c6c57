"""Two ways in which a system does without its server, and the choice between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from dmtl.algorithms.engines import check_engine, lifted
from dmtl.algorithms.lifted import NEEDS as LIFTED
from dmtl.algorithms.lifted import Lifted
from dmtl.algorithms.replicated import NEEDS as REPLICATED
from dmtl.algorithms.replicated import Replicated
from dmtl.consensus.chart import Chart
from dmtl.errors import ConfigError, unknown
from dmtl.penalties.penalty import Penalty

__all__ = ["NEEDS", "Form", "check_form", "formed", "refuse_unused"]

NEEDS = REPLICATED & LIFTED
"""what both forms ask for; each asks for more once it is chosen"""

Form = Literal["replicated", "lifted"]
"""replicated: the central method on every rank; lifted: tasks agree on one small variable, see ``lifts/``"""

_ENGINE = "nids"
"""what solves the lifted form, where nothing is said"""


def check_form(
    method: str, penalty: Penalty, form: str, engine: str | None, forms: Sequence[str] = ("replicated", "lifted")
) -> None:
    """Refuse a form that is not among a method's ``forms``, and an engine that is unknown or has nothing to solve."""
    if form not in forms:
        raise unknown(f"form of '{method}'", form, forms)
    if form == "lifted":
        check_engine(method, engine or _ENGINE, penalty)
    else:
        refuse_unused(method, "engine", engine, "lifted")


def refuse_unused(method: str, setting: str, value: Any, form: str) -> None:
    """Refuse a setting that only another ``form`` uses, where it is given."""
    if value is not None:
        raise ConfigError(f"'{method}' has {setting}={value}, which is for form={form}. Leave {setting} out.")


def formed(penalty: Penalty, form: str, engine: str | None, chart: Chart) -> Replicated | Lifted:
    """The method of that form for a penalty on that graph."""
    return lifted(penalty, engine or _ENGINE, chart) if form == "lifted" else Replicated(penalty, chart)
