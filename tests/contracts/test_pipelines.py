"""The pipelines keep the rules, the rules catch their faults, and their commands are ours."""

from __future__ import annotations

import pytest

from tests.support import command_words, house, pipelines

FOLDER = house.ROOT / "deploy" / "ci"
GITHUB = (FOLDER / "github-actions.yml").read_text(encoding="utf-8")
GITLAB = (FOLDER / "gitlab-ci.yml").read_text(encoding="utf-8")
KIND = (FOLDER / "kind-e2e.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", [GITHUB, KIND], ids=["project", "kind"])
def test_a_workflow_keeps_the_rules(text: str) -> None:
    assert pipelines.github(text) == []


def test_the_gitlab_pipeline_keeps_the_rules() -> None:
    assert pipelines.gitlab(GITLAB) == []


@pytest.mark.parametrize(
    ("good", "bad", "finding"),
    [
        ("actions/checkout@v4", "actions/checkout@main", "not pinned"),
        ("actions/checkout@v4", "actions/checkout", "not pinned"),
        ("needs: candidate", "needs: nobody", "which there is not"),
        (
            "  candidate:\n    runs-on",
            "  candidate:\n    needs: release\n    runs-on",
            "each other",
        ),
        ("  contents: read", "  contents: write", "may write contents"),
        ("id-token: write", "packages: write", "may write packages"),
        ("permissions:\n  contents: read", "permissions: write-all", "every permission"),
        ("coppice doctor", "coppice docter", "no command"),
        ("--format github", "--form github", "no option --form"),
        ("runs-on: ubuntu-24.04", "runs-on: ubuntu-latest", "no version"),
        ("    timeout-minutes: 120\n", "", "for hours"),
        ("${{ secrets.MODELS_SECRET_KEY }}", "abc", "a secret in the file"),
        ('"$REASON"', "${{ inputs.reason }}", "holds an expression"),
        ("${IMAGE%%/*}", "reg.example.com/x", "a host's name"),
        ("on:\n", "of:\n", "nothing starts it"),
    ],
)
def test_a_rule_for_workflows_catches_its_fault(good: str, bad: str, finding: str) -> None:
    assert good in GITHUB
    found = pipelines.github(GITHUB.replace(good, bad, 1))
    assert [one for one in found if finding in one]


@pytest.mark.parametrize(
    ("good", "bad", "finding"),
    [
        ("needs: [candidate]", "needs: [nobody]", "which there is not"),
        ("stage: image", "stage: images", "no such stage"),
        ("extends: .python", "extends: .ruby", "what is not there"),
        ("alpine/git:v2.49.1", "alpine/git", "no tag"),
        ("docker:28.5-cli", "docker:latest", "no tag"),
        ("coppice bake baked", "coppice cook baked", "no command"),
        ("--format junit", "--junit", "no option --junit"),
        ("COPPICE_STORE__REGISTRY: s3", "SOME_TOKEN: abc", "a secret in the file"),
        ("docker:28.5-cli", "reg.example.com/docker:28", "a host's name"),
    ],
)
def test_a_rule_for_gitlab_catches_its_fault(good: str, bad: str, finding: str) -> None:
    assert good in GITLAB
    found = pipelines.gitlab(GITLAB.replace(good, bad, 1))
    assert [one for one in found if finding in one]


@pytest.mark.parametrize("text", [GITHUB, GITLAB], ids=["github", "gitlab"])
def test_a_pipeline_prunes_judges_and_names_the_version(text: str) -> None:
    script = text.replace("run: ", "\n").replace("- ", "\n").replace("version=$(", "\n")
    said = {words[0] for words in command_words.in_script(script)}
    assert said >= {"doctor", "prune", "gate", "report", "bake", "log"}
    assert "--format junit" in text
    assert "initialRef" in text


def test_a_gate_that_refuses_stops_the_workflow() -> None:
    # The judging whose answer is for machines alone is passed over, the last one is not.
    judged = [line for line in GITHUB.splitlines() if "coppice gate" in line]
    assert [line.rstrip().endswith("|| true") for line in judged] == [True, False]
