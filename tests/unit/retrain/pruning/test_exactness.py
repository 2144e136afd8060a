"""Every network of the matrix, cut at random: it answers like the masked one, to the bit again."""

from __future__ import annotations

import pytest
import torch

from retrain import network
from retrain.pruning import surgery
from tests.support import architectures, cuts, layouts, recommenders, sequences

NETWORKS = {
    **architectures.ARCHITECTURES,
    **sequences.NETWORKS,
    **recommenders.NETWORKS,
    **layouts.NETWORKS,
}
EXACT = 1e-5


def answers(model: torch.nn.Module, name: str) -> torch.Tensor:
    # Rows that no trial has seen: those are the first of the training split.
    with torch.no_grad():
        return network.call(model, NETWORKS[name].rows(24))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_group_of_every_network_can_be_cut(name: str) -> None:
    record = cuts.at_random(NETWORKS[name])
    assert record.whole == ()
    assert all(group.after < group.before for group in record.groups)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_cut_model_answers_like_the_masked_one(name: str) -> None:
    record = cuts.at_random(NETWORKS[name], norms=False)
    assert record.cuts
    cut = answers(cuts.cut(NETWORKS[name], record), name)
    masked = answers(cuts.masked(NETWORKS[name], record), name)
    assert float((cut - masked).abs().max()) < EXACT
    # It is no cut of units that do nothing.
    assert float((cut - answers(NETWORKS[name].model(), name)).abs().max()) > 100 * EXACT


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_and_record_rebuild_the_model_to_the_bit(name: str) -> None:
    record = cuts.at_random(NETWORKS[name])
    model = cuts.cut(NETWORKS[name], record)
    # A factory draws other weights each time; those that were cut are loaded into them.
    again = cuts.cut(NETWORKS[name], surgery.Surgery.from_json(record.to_json()), seed=7)
    again.load_state_dict(model.state_dict())
    assert torch.equal(answers(model, name), answers(again, name))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_record_survives_json(name: str) -> None:
    record = cuts.at_random(NETWORKS[name])
    assert surgery.Surgery.from_json(record.to_json()) == record
