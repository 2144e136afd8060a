"""Which topics there must be, and what is said of those that will not do."""

from __future__ import annotations

import pytest

from coppice.eventlog import envelope, topics
from coppice.eventlog.topics import Topic
from coppice.settings import KafkaSettings

TABLE = KafkaSettings(prefix="eu.")
GOOD = topics.wanted(TABLE)


def changed(kind: str, topic: Topic) -> dict[str, Topic]:
    return GOOD | {f"eu.coppice.{kind}.v1": topic}


class TestWanted:
    def test_there_is_one_for_every_kind_and_for_its_dead_letters(self) -> None:
        assert sorted(GOOD) == envelope.all_topics("eu.")

    def test_requests_are_shared_out_and_dead_letters_are_few(self) -> None:
        assert GOOD["eu.coppice.prediction.v1"] == Topic(6, 3, 2)
        assert GOOD["eu.coppice.prediction.v1.dlq"] == Topic(1, 3, 2)

    @pytest.mark.parametrize("kind", ["candidate", "verdict", "rollout", "command", "retraining"])
    def test_decisions_are_kept_for_ever(self, kind: str) -> None:
        assert GOOD[f"eu.coppice.{kind}.v1"].retention_ms == "-1"

    @pytest.mark.parametrize("kind", ["prediction", "feedback", "shadow", "measurement"])
    def test_bulky_kinds_are_kept_as_long_as_the_cluster_keeps_things(self, kind: str) -> None:
        assert GOOD[f"eu.coppice.{kind}.v1"].retention_ms is None


class TestJudge:
    def test_what_is_as_wanted_has_no_findings(self) -> None:
        assert topics.judge(GOOD, TABLE) == []

    def test_topics_of_others_are_not_judged(self) -> None:
        assert topics.judge(GOOD | {"orders": Topic(1, 1, 9)}, TABLE) == []

    def test_missing_topics_are_named_with_the_remedy(self) -> None:
        found = {name: topic for name, topic in GOOD.items() if "verdict" not in name}

        assert topics.judge(found, TABLE) == [
            topics.Finding(
                "problem",
                "2 topics are missing: eu.coppice.verdict.v1, eu.coppice.verdict.v1.dlq",
                "`coppice log topics --create` makes them",
            )
        ]

    @pytest.mark.parametrize("kind", ["prediction", "feedback", "shadow"])
    def test_topics_of_one_request_have_equally_many_partitions(self, kind: str) -> None:
        (finding,) = topics.judge(changed(kind, Topic(4, 3, 2)), TABLE)

        assert finding.level == "problem"
        assert f"eu.coppice.{kind}.v1 has 4" in finding.text

    def test_other_topics_may_have_other_partitions(self) -> None:
        assert topics.judge(changed("verdict", Topic(1, 3, 2)), TABLE) == []

    def test_a_topic_that_could_never_acknowledge_is_a_problem(self) -> None:
        (finding,) = topics.judge(changed("verdict", Topic(6, 3, 4)), TABLE)

        assert finding.level == "problem"
        assert "wants 4 copies in sync, but has only 3" in finding.text

    def test_a_topic_that_acknowledges_too_early_is_a_warning(self) -> None:
        (finding,) = topics.judge(changed("verdict", Topic(6, 3, 1)), TABLE)

        assert finding.level == "warning"
        assert "less than kafka.min_insync (2)" in finding.text

    def test_too_few_copies_are_a_warning(self) -> None:
        (finding,) = topics.judge(changed("verdict", Topic(6, 2, 2)), TABLE)

        assert finding.level == "warning"
        assert "has 2 copies, less than kafka.replication (3)" in finding.text

    def test_what_the_brokers_do_not_tell_is_not_judged(self) -> None:
        assert topics.judge(changed("verdict", Topic(6, 3, None)), TABLE) == []
