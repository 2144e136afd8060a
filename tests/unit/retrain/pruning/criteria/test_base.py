from __future__ import annotations

import pytest
import torch

from retrain.pruning import criteria
from retrain.pruning.criteria import base, magnitude
from tests.support import ranking


def test_norms_are_told_in_units_of_their_mean() -> None:
    assert base.over_mean(torch.tensor([1.0, 3.0])).tolist() == [0.5, 1.5]


def test_norms_of_zero_stay_zero() -> None:
    assert base.over_mean(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]


def test_evidence_names_the_model_s_parameters() -> None:
    found = ranking.evidence(ranking.linears(a=ranking.A))
    assert set(found.parameters) == {"a.weight", "a.bias"}


def test_a_criterion_is_found_by_its_file_s_name() -> None:
    assert criteria.load("magnitude") is magnitude.CRITERION


def test_the_base_is_no_criterion() -> None:
    assert "base" not in criteria.names()


def test_a_name_that_no_file_has_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such"):
        criteria.load("no-such")
