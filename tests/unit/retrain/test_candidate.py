from __future__ import annotations

from retrain import candidate
from retrain.pruning import recipe


def test_a_request_by_hand_starts_from_the_usual_parent_and_asks_for_nothing_special() -> None:
    request = candidate.CandidateRequest(recipe=recipe.Recipe())
    assert (request.cause, request.force, request.refit) == ("manual", False, False)
    assert request.parent is None
    assert request.production is None
    assert request.recover_on is None
