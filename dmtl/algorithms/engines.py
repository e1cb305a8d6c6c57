"""Which method solves a lifted form."""

from __future__ import annotations

from dmtl.algorithms.dadmm import ADMMEngine
from dmtl.algorithms.lifted import Engine, Lifted
from dmtl.algorithms.nids import NIDSEngine
from dmtl.algorithms.proximal_extra import ExtraEngine, check_smooth
from dmtl.consensus.chart import Chart
from dmtl.errors import unknown
from dmtl.lifts.find import check_lift, lift_of
from dmtl.penalties.penalty import Penalty

__all__ = ["check_engine", "lifted"]

_ENGINES: dict[str, Engine] = {
    "dadmm": ADMMEngine(),
    "extra": ExtraEngine(),
    "nids": NIDSEngine(),
    "pg-extra": ExtraEngine(),
}


def check_engine(method: str, engine: str, penalty: Penalty) -> None:
    """Refuse an engine that is not there, or that cannot solve the lifted form of that penalty."""
    if engine not in _ENGINES:
        raise unknown(f"engine of '{method}'", engine, sorted(_ENGINES))
    check_lift(method, penalty)
    if engine == "extra":
        check_smooth("extra", penalty)


def lifted(penalty: Penalty, engine: str, chart: Chart) -> Lifted:
    """The lifted form of a penalty on that graph, solved by that engine: 'nids', 'pg-extra', 'extra' or 'dadmm'."""
    return Lifted(_ENGINES[engine], lift_of(penalty, chart.ranks), chart)
