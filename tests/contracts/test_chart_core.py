"""What the chart's core promises: who may do what, what is told to whom, and what is refused."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from coppice import routing, settings
from helm import reference
from tests.support import chart, house, manifests
from tests.support.manifests import Object, PodTemplate

pytestmark = pytest.mark.skipif(not chart.installed(), reason=chart.ABSENT)

MODES = chart.modes()
TEMPLATES = chart.FOLDER / "templates"


def release(mode: str, **places: Any) -> chart.Release:
    """Render a mode with some values set; `a__b=1` sets `a.b`."""
    chosen = copy.deepcopy(chart.values(mode))
    for place, value in places.items():
        *tables, last = place.split("__")
        table = chosen
        for name in tables:
            table = table.setdefault(name, {})
        table[last] = value
    return chart.render(chosen)


def pod(found: chart.Release, name: str) -> PodTemplate:
    (wanted,) = [each for each in manifests.pods(found.objects) if each.owner.endswith(name)]
    return wanted


def container(wanted: PodTemplate, name: str) -> Object:
    (found,) = [box for box in wanted.everything if box["name"] == name]
    return found


def toml(found: chart.Release) -> dict[str, Any]:
    (text,) = [
        each["data"]["coppice.toml"]
        for each in chart.of_kind(found.objects, "ConfigMap")
        if "coppice.toml" in each["data"]
    ]
    return tomllib.loads(text)


def rules(found: chart.Release) -> set[tuple[str, str, str]]:
    """Return what the Role allows: verb, resource, name (`*` for any)."""
    (role,) = chart.of_kind(found.objects, "Role")
    return {
        (verb, resource, name)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", ["*"])
    }


def keys(tree: Any) -> Iterator[str]:
    """Yield every key of a tree, at any depth."""
    if isinstance(tree, dict):
        yield from tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from keys(part)


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(tree, dict) and tree:
        for key, part in tree.items():
            yield from leaves(part, (*path, key))
    else:
        yield ".".join(path)


# Values that are refused, before anything is made.


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("severs", {}),
        ("server__replica", 3),
        ("server__replicas", "3"),
        ("server__kind", "DaemonSet"),
        ("server__probes", {"readiness": {"period": 3}}),
        ("server__podAnnotations", {"coppice.dev/routing": "{}"}),
        ("server__podLabels", {"app.kubernetes.io/name": "mine"}),
        ("commonAnnotations", {"coppice.dev/table": "{}"}),
        ("server__resources", {"limits": {"memory": "lots"}}),
        ("images__server__tag", "latest"),
        ("images__server__digest", "sha256:abc"),
        ("podSecurityContext__runAsNonRoot", False),
        ("podSecurityContext__runAsUser", 0),
        ("podSecurityContext__seccompProfile", {"type": "Unconfined"}),
        ("rollout__backend", "local"),
        ("model__initialRef", "digits"),
        ("model__initialRef", "digits@champion"),
        ("model__routing", {"candidate": "digits:b"}),
        ("model__routing", {"champion": "digits:a", "wait": 0.5}),
        ("fullnameOverride", "Shop"),
        ("files", {"coppice.toml": "mine"}),
        ("config__serve", {"wokers": 2}),
        ("config__serve", {"workers": 0}),
        ("config__serve", {"port": 8080}),
        ("config__rollout", {"backend": "local"}),
        ("config__store", {"home": "/tmp"}),
        ("config__project", {}),
        ("config__kafka", {"servers": ""}),
        ("config__kafka__sasl_password", "hunter2"),
        ("config__serve", {"routing_key_secret": "hunter2"}),
        ("config__rollout", {"token": "hunter2"}),
    ],
)
def test_a_value_that_is_wrong_is_refused_by_the_schema(place: str, value: Any) -> None:
    with pytest.raises(chart.engine().HelmValuesError):
        release("minimal", **{place: value})


@pytest.mark.parametrize("table", ["config", "model"])
def test_what_is_needed_cannot_be_left_out(table: str) -> None:
    chosen = {name: part for name, part in chart.values("minimal").items() if name != table}
    with pytest.raises(chart.engine().HelmValuesError):
        chart.render(chosen)


@pytest.mark.parametrize(
    ("mode", "places", "told"),
    [
        ("minimal", {"server__kind": "Rollout"}, "set rollout.backend to argo"),
        ("minimal", {"rollout__backend": "argo"}, "set server.kind to Rollout or WorkloadRef"),
        ("flagger", {"server__kind": "Rollout"}, "which only Argo Rollouts understands"),
        ("argo-rollout", {"control__enabled": False}, "turn control.enabled on"),
        ("argo-rollout", {"model__routing": {"champion": "digits:a"}}, "rollout.writeBack to none"),
        # 5 s until nobody sends anything and 20 s for what is in flight leave the relay nothing.
        ("minimal", {"server__terminationGracePeriodSeconds": 25}, "must be above 25"),
        ("registry-pvc", {"store__pvc__existingClaim": ""}, "store.pvc.existingClaim"),
        ("registry-s3", {"store__s3__bucket": ""}, "store.s3.bucket"),
        ("kafka-tls-sasl", {"secrets__kafkaPassword__existingSecret": ""}, "needs a password"),
        ("minimal", {"secrets__kafkaPassword__existingSecret": "a"}, "brokers ask for none"),
        ("gateway", {"autoscaling__hpa__enabled": True}, "turn autoscaling off"),
        (
            "everything",
            {"autoscaling__hpa__enabled": True},
            "would both set the number of pods",
        ),
        ("hpa", {"autoscaling__maxReplicas": 2}, "minReplicas is above"),
        ("gateway", {"rollout__writeBack": "none"}, "let argo or flagger move the traffic"),
        ("gateway", {"ingress": {"enabled": True, "host": "a.example.org"}}, "turn ingress"),
        ("flagger", {"flagger__gatewayRefs": []}, "flagger.gatewayRefs"),
        ("flagger", {"autoscaling__hpa__enabled": False}, "let minReplicas be maxReplicas"),
        ("flagger", {"flagger__provider": "nginx"}, "turn ingress.enabled on"),
        (
            "minimal",
            {"networkPolicy__enabled": True, "config__kafka__servers": "a:9092, b:19092"},
            "add it there",
        ),
        (
            "minimal",
            {"networkPolicy__enabled": True, "store__s3__endpoint": "http://minio.s3:9000"},
            "store.s3.endpoint has port 9000",
        ),
        (
            "minimal",
            {"networkPolicy__enabled": True, "store__s3__endpoint": "http://minio.s3"},
            "store.s3.endpoint has port 80,",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_what_to_do(
    mode: str, places: dict[str, Any], told: str
) -> None:
    with pytest.raises(chart.engine().HelmRenderError, match=re.escape(told)):
        release(mode, **places)


# What is rendered.


@pytest.mark.parametrize("mode", MODES)
def test_no_key_of_the_controller_is_rendered(mode: str) -> None:
    assert [
        key for key in keys(list(chart.release(mode).objects)) if key.startswith("coppice.dev/")
    ] == []


@pytest.mark.parametrize("mode", MODES)
def test_the_settings_hold_what_was_asked_for_and_what_the_chart_decides(mode: str) -> None:
    asked = chart.values(mode)["config"]
    found = {(table, field) for table, part in toml(chart.release(mode)).items() for field in part}
    wanted = {(table, field) for table, part in asked.items() for field in part}
    own = {(table, field) for table, part in reference.OWN.items() for field in part}
    suggested = {("monitor", "group"), ("kafka", "tls"), ("store", "cache_bytes")}
    assert wanted <= found <= wanted | own | suggested
    assert wanted & own == set()


def test_settings_keep_their_kinds_on_the_way() -> None:
    told = 'quotes " and \\, a\nline, ü'
    given = {
        "events": {"capture": {"pen name": "drop", "x": "hash"}, "retention_bytes": 2**33},
        "rollout": {"steps": [0.1, 0.5], "auto": False},
        "evidence": {"alpha": 0.05},
        "kafka": {"servers": "a:1", "client_id": "b"},
        "project": {"name": "digits", "module": told},
    }
    found = toml(release("minimal", config=given))
    assert found["events"] == {**given["events"], "backend": "kafka"}
    assert isinstance(found["events"]["retention_bytes"], int)
    assert found["rollout"] == given["rollout"]
    assert found["evidence"] == given["evidence"]
    assert found["project"] == given["project"]


def test_what_the_chart_suggests_can_be_set_otherwise() -> None:
    assert toml(chart.release("argo-rollout"))["monitor"]["group"] == "shop-coppice"
    assert toml(chart.release("minimal"))["monitor"]["group"] == ""
    given = {**chart.values("argo-rollout")["config"], "monitor": {"group": "ours"}}
    assert toml(release("argo-rollout", config=given))["monitor"]["group"] == "ours"


@pytest.mark.parametrize("mode", MODES)
def test_every_variable_of_ours_is_a_setting(mode: str) -> None:
    names = {
        each["name"]
        for found in manifests.pods(chart.release(mode).objects)
        for box in found.everything
        for each in box.get("env", [])
        if each["name"].startswith("COPPICE_")
    }
    known = {
        f"COPPICE_{table}__{field}".upper()
        for table, part in settings.Settings.model_json_schema()["properties"].items()
        if "$ref" in part
        for field in getattr(settings, part["$ref"].rpartition("/")[2]).model_fields
    }
    assert names - {"COPPICE_PROJECT"} <= known


def test_where_git_says_what_runs_the_table_comes_with_the_release() -> None:
    table = {"champion": "digits:a", "candidate": "digits:b", "weight": 1, "mirror": 0.5}
    server = pod(release("gitops", model__routing=table), "/shop-coppice-server")
    assert msgspec.json.decode(
        server.annotations["coppice.dev/routing"], type=routing.RoutingTable
    ) == routing.RoutingTable(
        model="digits", champion="digits:a", candidate="digits:b", weight=1.0, mirror=0.5
    )


def test_a_pod_that_serves_routes_by_its_own_annotation() -> None:
    server = pod(chart.release("argo-rollout"), "/shop-coppice-server")
    (project,) = [each for each in server.spec["volumes"] if each["name"] == "project"]
    assert project["projected"]["sources"] == [
        {"configMap": {"name": "shop-coppice"}},
        {
            "downwardAPI": {
                "items": [
                    {
                        "path": "routing/routing.json",
                        "fieldRef": {"fieldPath": "metadata.annotations['coppice.dev/routing']"},
                    }
                ]
            }
        },
    ]
    assert {"name": "project", "mountPath": "/etc/coppice", "readOnly": True} in container(
        server, "server"
    )["volumeMounts"]
    given = {each["name"]: each.get("value") for each in container(server, "server")["env"]}
    assert given["COPPICE_PROJECT"] == "/etc/coppice"
    assert given["COPPICE_SERVE__ROUTING_FILE"] == "routing/routing.json"
    assert given["COPPICE_SERVE__INITIAL"] == "digits:6f1e0c9a"


def test_a_pod_that_controls_routes_by_nothing() -> None:
    assert "downwardAPI" not in json.dumps(
        [
            each
            for each in pod(chart.release("argo-rollout"), "-control").spec["volumes"]
            if each["name"] == "project"
        ]
    )


def test_versions_are_there_before_the_server_and_the_relay_outlives_it() -> None:
    server = pod(chart.release("argo-rollout"), "/shop-coppice-server").spec
    pull, relay = server["initContainers"]
    assert pull["args"][0] == "pull"
    assert "restartPolicy" not in pull
    assert (relay["args"][0], relay["restartPolicy"]) == ("relay", "Always")
    assert [box["name"] for box in server["containers"]] == ["server"]


def test_a_relay_that_is_no_sidecar_is_a_container_like_the_server() -> None:
    server = pod(release("registry-pvc", relay__native=False), "/shop-coppice-server").spec
    assert "initContainers" not in server
    assert [box["name"] for box in server["containers"]] == ["server", "relay"]


@pytest.mark.parametrize("mode", MODES)
def test_server_and_relay_share_the_log_and_the_rest_of_the_disk_is_read_only(mode: str) -> None:
    server = pod(chart.release(mode), "/shop-coppice-server")
    places = {
        (box["name"], mount["name"]): mount["mountPath"]
        for box in server.everything
        for mount in box["volumeMounts"]
    }
    assert places["server", "state"] == places["relay", "state"] == "/var/lib/coppice"
    assert places["server", "tmp"] == "/tmp"
    assert places["server", "models"] == "/var/lib/coppice/bentoml"


def test_a_server_drains_before_it_ends() -> None:
    by_kubelet = container(pod(chart.release("minimal"), "-server"), "server")
    by_program = container(
        pod(release("minimal", server__preStop={"native": False}), "-server"), "server"
    )
    assert by_kubelet["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert by_program["lifecycle"] == {"preStop": {"exec": {"command": ["sleep", "5"]}}}


def test_logs_and_versions_stay_below_the_volumes_that_hold_them() -> None:
    found = chart.release("minimal")
    given = {
        each["name"]: each.get("value")
        for each in container(pod(found, "-server"), "server")["env"]
    }
    volumes = {each["name"]: each for each in pod(found, "-server").spec["volumes"]}
    assert given["COPPICE_EVENTS__CAP_BYTES"] == "6000000000"
    assert volumes["state"]["emptyDir"]["sizeLimit"] == "8Gi"
    assert toml(found)["store"]["cache_bytes"] == 3_000_000_000
    assert volumes["models"]["emptyDir"]["sizeLimit"] == "4Gi"


def test_a_log_may_lie_on_a_claim_of_its_pod() -> None:
    state = {"kind": "ephemeral", "size": "50Gi", "storageClassName": "fast"}
    server = pod(release("minimal", server__state=state), "-server")
    (found,) = [each for each in server.spec["volumes"] if each["name"] == "state"]
    assert found["ephemeral"]["volumeClaimTemplate"]["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "50Gi"}},
    }


def test_pods_that_serve_never_write_to_a_shared_folder_of_versions() -> None:
    found = chart.release("registry-pvc")
    mounts = {
        (each.owner.rpartition("-")[2], box["name"]): mount.get("readOnly")
        for each in manifests.pods(found.objects)
        for box in each.everything
        for mount in box.get("volumeMounts", [])
        if mount["name"] == "registry"
    }
    assert mounts == {("server", "server"): True, ("control", "monitor"): False}


# Who may do what.

LEASE = {
    ("get", "leases", "shop-coppice"),
    ("update", "leases", "shop-coppice"),
    ("create", "leases", "*"),
}
TOLD = {("list", "pods", "*"), ("patch", "pods", "*")}
SERVER, CANDIDATE = "shop-coppice-server", "shop-coppice-candidate"
ROLES = {
    "argo-rollout": LEASE
    | TOLD
    | {
        ("get", "rollouts", SERVER),
        ("watch", "rollouts", SERVER),
        ("patch", "rollouts", SERVER),
        ("patch", "rollouts/status", SERVER),
    },
    "argo-workload-ref": LEASE
    | TOLD
    | {
        ("get", "rollouts", SERVER),
        ("watch", "rollouts", SERVER),
        ("patch", "rollouts", SERVER),
        ("patch", "rollouts/status", SERVER),
        ("get", "deployments", SERVER),
        ("patch", "deployments", SERVER),
    },
    "gitops": LEASE | {("get", "rollouts", SERVER), ("watch", "rollouts", SERVER)},
    "flagger": LEASE
    | TOLD
    | {
        ("get", "canaries", SERVER),
        ("watch", "canaries", SERVER),
        ("patch", "canaries", SERVER),
        ("get", "deployments", SERVER),
        ("patch", "deployments", SERVER),
        ("get", "deployments", f"{SERVER}-primary"),
    },
    "gateway": LEASE
    | TOLD
    | {
        ("get", "httproutes", "shop-coppice"),
        ("watch", "httproutes", "shop-coppice"),
        ("patch", "httproutes", "shop-coppice"),
        ("get", "deployments", SERVER),
        ("patch", "deployments", SERVER),
        ("get", "deployments", CANDIDATE),
        ("patch", "deployments", CANDIDATE),
    },
}


@pytest.mark.parametrize("mode", ROLES)
def test_a_role_allows_what_its_backend_does_and_nothing_else(mode: str) -> None:
    assert rules(chart.release(mode)) == ROLES[mode]


def test_where_nobody_moves_traffic_nobody_asks_the_clusters_api() -> None:
    found = chart.release("local")
    assert chart.of_kind(found.objects, "Role", "RoleBinding") == []
    assert [box["name"] for box in pod(found, "-control").spec["containers"]] == ["monitor"]


@pytest.mark.parametrize("mode", MODES)
def test_only_the_controller_has_a_token_of_the_clusters_api(mode: str) -> None:
    found = manifests.pods(chart.release(mode).objects)
    assert {each.spec["automountServiceAccountToken"] for each in found} == {False}
    holders = {
        (each.owner, box["name"])
        for each in found
        for box in each.everything
        for mount in box.get("volumeMounts", [])
        if "serviceaccount" in mount["mountPath"]
    }
    assert holders <= {("StatefulSet/shop-coppice-control", "controller")}
    assert bool(holders) == (mode in ROLES or mode == "everything")


def test_the_token_of_the_doors_is_a_file_of_the_controller_alone() -> None:
    control = pod(chart.release("argo-rollout"), "-control")
    with_it = {
        box["name"]
        for box in control.everything
        for mount in box["volumeMounts"]
        if mount["mountPath"] == "/etc/coppice-token"
    }
    assert with_it == {"controller"}
    told = toml(chart.release("argo-rollout"))["rollout"]["token_file"]
    assert told == "/etc/coppice-token/token"


def test_credentials_of_the_store_reach_only_what_reads_or_writes_versions() -> None:
    found = manifests.pods(chart.release("registry-s3").objects)
    holders = {
        box["name"]
        for each in found
        for box in each.everything
        for given in box.get("env", [])
        if given["name"].startswith("AWS_")
    }
    assert holders == {"pull", "server", "monitor"}


# Workloads.


def test_a_rollout_with_a_router_has_a_service_for_each_side() -> None:
    routed = {"plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "shop-coppice"}}}
    found = release("argo-rollout", rollout__argo={"trafficRouting": routed})
    (rollout,) = chart.of_kind(found.objects, "Rollout")
    canary = rollout["spec"]["strategy"]["canary"]
    services = {each["metadata"]["name"] for each in chart.of_kind(found.objects, "Service")}
    assert canary["trafficRouting"] == routed
    assert {canary["stableService"], canary["canaryService"]} == {SERVER, CANDIDATE}
    assert services >= {SERVER, CANDIDATE}


def test_a_rollout_without_a_router_counts_pods() -> None:
    (rollout,) = chart.of_kind(chart.release("argo-rollout").objects, "Rollout")
    assert "stableService" not in rollout["spec"]["strategy"]["canary"]


def test_a_rollout_may_take_its_pods_from_a_deployment() -> None:
    found = chart.release("argo-workload-ref").objects
    (deployment,) = chart.of_kind(found, "Deployment")
    (rollout,) = chart.of_kind(found, "Rollout")
    assert rollout["spec"]["workloadRef"]["name"] == deployment["metadata"]["name"]
    assert "template" not in rollout["spec"]
    assert deployment["spec"]["replicas"] == 0
    assert toml(chart.release("argo-workload-ref"))["cluster"]["template"] == SERVER


@pytest.mark.parametrize("mode", ["hpa", "keda", "flagger", "everything"])
def test_where_a_scaler_decides_the_number_of_pods_is_not_rendered(mode: str) -> None:
    (found,) = [
        each
        for each in chart.of_kind(chart.release(mode).objects, "Deployment", "Rollout")
        if each["metadata"]["name"] == SERVER
    ]
    assert "replicas" not in found["spec"]


def test_a_gateway_has_two_workloads_that_differ_in_their_names_alone() -> None:
    found = chart.release("gateway")
    stable, candidate = pod(found, "/shop-coppice-server"), pod(found, "-candidate")
    assert stable.spec == candidate.spec
    assert stable.labels == {**candidate.labels, "app": SERVER}
    assert toml(found)["cluster"] == {
        "namespace": "models",
        "workload": "shop-coppice",
        "template": SERVER,
        "candidate": CANDIDATE,
        "lease": "shop-coppice",
        "write_back": "cluster",
    }


def test_flagger_makes_the_services_of_its_target() -> None:
    services = chart.of_kind(chart.release("flagger").objects, "Service")
    assert [each["metadata"]["name"] for each in services] == ["shop-coppice-control"]


def test_a_change_of_the_settings_makes_new_pods_and_one_of_their_number_does_not() -> None:
    before = pod(chart.release("minimal"), "-server").annotations["checksum/config"]
    config = {**chart.values("minimal")["config"], "serve": {"workers": 2}}
    other = pod(release("minimal", config=config), "-server").annotations["checksum/config"]
    more = pod(release("minimal", server__replicas=5), "-server").annotations["checksum/config"]
    assert other != before == more


def test_one_retrainer_keeps_a_replica_of_the_log() -> None:
    found = release("everything", retrain__kind="deployment")
    (deployment,) = chart.of_kind(found.objects, "Deployment")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    names = {box["name"]: box["args"][0] for box in pod(found, "-retrainer").everything}
    assert names == {"relay": "relay", "follow": "follow", "retrain": "retrain"}


def test_each_pod_of_control_has_its_own_claim_or_none() -> None:
    (kept,) = chart.of_kind(chart.release("minimal").objects, "StatefulSet")
    (gone,) = chart.of_kind(
        release("minimal", control__persistence={"enabled": False}).objects, "StatefulSet"
    )
    assert [each["metadata"]["name"] for each in kept["spec"]["volumeClaimTemplates"]] == ["state"]
    assert "volumeClaimTemplates" not in gone["spec"]
    assert "state" in {each["name"] for each in gone["spec"]["template"]["spec"]["volumes"]}


def test_a_release_without_control_serves() -> None:
    found = release("minimal", control__enabled=False)
    assert [each.owner for each in manifests.pods(found.objects)] == [f"Deployment/{SERVER}"]


# What the chart says about itself.


def test_the_table_of_values_is_fresh() -> None:
    # `python helm/reference.py` writes it.
    assert (chart.FOLDER / "README.md").read_text(encoding="utf-8") == reference.readme()


def test_the_schema_knows_every_setting_that_there_is() -> None:
    # `python helm/reference.py` writes it.
    assert (chart.FOLDER / "values.schema.json").read_text(encoding="utf-8") == reference.schema()


def test_every_value_is_explained() -> None:
    told = {value.path for value in reference.values()}
    defaults = yaml.safe_load((chart.FOLDER / "values.yaml").read_text(encoding="utf-8"))
    silent = [
        path
        for path in leaves(defaults)
        if not any(f"{path}.".startswith(f"{known}.") for known in told)
    ]
    assert silent == []


def test_every_value_is_read_by_a_template() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.*"))
    unread = [
        value.path
        for value in reference.values()
        if not re.search(rf"\.{value.path.rpartition('.')[2]}\b", text)
    ]
    assert unread == []


def test_no_setting_of_the_chart_is_one_that_there_is_not() -> None:
    schema = settings.Settings.model_json_schema()
    tables = {
        name: set(schema["$defs"][part["$ref"].rpartition("/")[2]]["properties"])
        for name, part in schema["properties"].items()
        if "$ref" in part
    }
    strangers = {name: fields - tables[name] for name, fields in reference.OWN.items()}
    assert strangers == {name: set() for name in reference.OWN}


def test_the_version_of_the_chart_is_that_of_the_program() -> None:
    about = yaml.safe_load((chart.FOLDER / "Chart.yaml").read_text(encoding="utf-8"))
    version = Path(house.ROOT / "coppice" / "__init__.py").read_text(encoding="utf-8")
    assert f'"{about["appVersion"]}"' in version
