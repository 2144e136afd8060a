"""The pipelines keep the rules, the rules catch their faults, and their commands are ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from coppice import registry, routing, settings
from deploy.backends.kube import pods
from tests.support import artifacts, chart, command_words, house, pipelines

FOLDER = house.ROOT / "deploy" / "ci"
GITHUB = (FOLDER / "github-actions.yml").read_text(encoding="utf-8")
GITLAB = (FOLDER / "gitlab-ci.yml").read_text(encoding="utf-8")
KIND = (FOLDER / "kind-e2e.yml").read_text(encoding="utf-8")
CHECKOUT = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683"


@pytest.mark.parametrize("text", [GITHUB, KIND], ids=["project", "kind"])
def test_a_workflow_keeps_the_rules(text: str) -> None:
    assert pipelines.github(text) == []


def test_the_gitlab_pipeline_keeps_the_rules() -> None:
    assert pipelines.gitlab(GITLAB) == []


@pytest.mark.parametrize(
    ("good", "bad", "finding"),
    [
        (CHECKOUT, "actions/checkout@main", "not pinned"),
        (CHECKOUT, "actions/checkout@v4", "not pinned"),
        (CHECKOUT, "actions/checkout", "not pinned"),
        ("needs: candidate", "needs: nobody", "which there is not"),
        ("needs: [candidate, image]", "needs: [candidate, picture]", "which there is not"),
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
        ("- job: scan", "- job: look", "which there is not"),
        ("TRIVY_PASSWORD: $", "TRIVY_PASSWORD: ", "a secret in the file"),
        ("stage: image", "stage: images", "no such stage"),
        ("extends: .python", "extends: .ruby", "what is not there"),
        ("python:3.11-bookworm", "python", "no tag"),
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


def test_a_scan_that_finds_something_stops_the_release() -> None:
    release = pipelines.load(GITHUB)["jobs"]["release"]
    assert "needs.image.result != 'failure'" in release["if"]
    assert pipelines.load(GITLAB)["release"]["needs"] == [
        "candidate",
        {"job": "scan", "optional": True},
    ]


def test_a_gate_that_refuses_stops_the_workflow() -> None:
    # The judging whose answer is for machines alone is passed over, the last one is not.
    judged = [line for line in GITHUB.splitlines() if "coppice gate" in line]
    assert [line.rstrip().endswith("|| true") for line in judged] == [True, False]


# What the release writes into Git, carried out.

SCRIPTS = {
    "github": pipelines.load(GITHUB)["jobs"]["release"]["steps"][-2]["run"],
    "gitlab": pipelines.load(GITLAB)["release"]["script"][0],
}
CANDIDATE = "digits:0b7d3c55"
BEFORE = """\
model:
  initialRef: digits:6f1e0c9a
  routing: {champion: "digits:6f1e0c9a"}
rollout:
  writeBack: none
"""
CLONE = 'git clone --depth 1 "https://candidate:$GITOPS_TOKEN@$GITOPS_REPOSITORY" gitops\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project without a champion, and the repository of the values beside it."""
    (tmp_path / "coppice.toml").write_text('[project]\nname = "digits"\ntask = "binary"\n')
    (tmp_path / "gitops").mkdir()
    (tmp_path / "gitops" / "values.yaml").write_text(BEFORE)
    return tmp_path


def make_champion(project: Path) -> str:
    artifacts.linear_classifier(project / "made", name="digits")
    versions = registry.open_registry(settings.load(project))
    champion = versions.add(project / "made")
    versions.point("digits", {"champion": champion})
    return champion


def released(script: str, project: Path) -> tuple[int, dict[str, Any]]:
    """Carry out what names the version; return the exit code and the values after it."""
    there = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-e", "-c", script.replace(CLONE, "")],
        cwd=project,
        env={
            **os.environ,
            "PATH": f"{there}:{os.environ['PATH']}",
            "VERSION": CANDIDATE,
            "VALUES": "values.yaml",
            "GITOPS_VALUES": "values.yaml",
        },
        check=False,
        capture_output=True,
    )
    values: dict[str, Any] = yaml.safe_load((project / "gitops" / "values.yaml").read_text())
    return done.returncode, values


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_release_puts_the_version_on_trial_beside_the_champion(
    script: str, project: Path
) -> None:
    champion = make_champion(project)

    code, values = released(script, project)

    trial = {"champion": champion, "candidate": CANDIDATE, "weight": 1, "mirror": 1}
    assert code == 0
    assert values == {
        "model": {"initialRef": "digits:6f1e0c9a", "routing": trial},
        "rollout": {"writeBack": "none"},
    }


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_the_first_release_names_a_champion_alone(script: str, project: Path) -> None:
    code, values = released(script, project)
    assert (code, values["model"]["routing"]) == (0, {"champion": CANDIDATE})


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_release_fails_where_the_values_have_no_line_for_it(script: str, project: Path) -> None:
    (project / "gitops" / "values.yaml").write_text("model:\n  initialRef: digits:6f1e0c9a\n")
    code, values = released(script, project)
    assert code != 0
    assert values == {"model": {"initialRef": "digits:6f1e0c9a"}}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_release_fails_where_nobody_can_say_who_is_champion(script: str, project: Path) -> None:
    (project / "coppice.toml").write_text("[project\n")
    code, values = released(script, project)
    assert code != 0
    assert values == yaml.safe_load(BEFORE)


@pytest.mark.skipif(not chart.installed(), reason=chart.ABSENT)
def test_the_chart_hands_on_the_table_that_a_release_writes(project: Path) -> None:
    champion = make_champion(project)
    _, values = released(SCRIPTS["github"], project)
    chosen = {**chart.values("gitops"), "model": values["model"]}

    (rollout,) = chart.of_kind(chart.render(chosen).objects, "Rollout")

    text = rollout["spec"]["template"]["metadata"]["annotations"][pods.ROUTING]
    assert msgspec.json.decode(text, type=routing.RoutingTable) == routing.RoutingTable(
        model="digits", champion=champion, candidate=CANDIDATE, weight=1.0, mirror=1.0
    )
