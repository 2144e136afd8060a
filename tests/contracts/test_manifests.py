"""Each rule over rendered objects finds the fault it is for, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support import chart, kinds, manifests, manifests_security, references, wiring
from tests.support.manifests import Objects

LABELS = """
    helm.sh/chart: coppice-1
    app.kubernetes.io/name: coppice
    app.kubernetes.io/instance: shop
    app.kubernetes.io/version: "1"
    app.kubernetes.io/component: server
    app.kubernetes.io/part-of: coppice
    app.kubernetes.io/managed-by: Helm
"""
GOOD = f"""
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop-server
  labels:{LABELS}spec:
  selector:
    matchLabels: {{app.kubernetes.io/name: coppice, app.kubernetes.io/instance: shop}}
  template:
    metadata:
      labels: {{app.kubernetes.io/name: coppice, app.kubernetes.io/instance: shop, part: server}}
      annotations: {{checksum: "1"}}
    spec:
      serviceAccountName: shop-server
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        seccompProfile: {{type: RuntimeDefault}}
      topologySpreadConstraints:
        - topologyKey: zone
          maxSkew: 1
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: {{matchLabels: {{part: server}}}}
      initContainers:
        - name: fetch
          image: worker@sha256:{"a" * 64}
          securityContext: &own
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {{drop: [ALL]}}
      containers:
        - name: server
          image: server:1.0
          securityContext: *own
          ports: [{{name: http, containerPort: 3000}}]
          env:
            - name: COPPICE_KAFKA__SASL_PASSWORD
              valueFrom: {{secretKeyRef: {{name: theirs, key: word}}}}
            - {{name: TOKEN_FILE, value: /run/token}}
          resources:
            requests: {{cpu: 250m, memory: 256Mi}}
            limits: {{memory: 1Gi}}
          readinessProbe: {{httpGet: {{path: /ready, port: http}}}}
          lifecycle: {{preStop: {{sleep: {{seconds: 5}}}}}}
          volumeMounts:
            - {{name: settings, mountPath: /etc/coppice}}
            - {{name: scratch, mountPath: /tmp}}
      volumes:
        - name: settings
          configMap: {{name: shop-settings, items: [{{key: coppice.toml, path: a}}]}}
        - {{name: scratch, emptyDir: {{sizeLimit: 1Gi}}}}
---
apiVersion: v1
kind: Service
metadata:
  name: shop-server
  labels:{LABELS}spec:
  selector: {{part: server}}
  ports: [{{name: http, port: 80, targetPort: http}}]
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: shop-settings
  labels:{LABELS}data:
  coppice.toml: |
    [serve]
    port = 3000
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: shop-server
  labels:{LABELS}---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: shop-server
  labels:{LABELS}rules:
  - {{apiGroups: [apps], resources: [deployments], verbs: [get]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: shop-server
  labels:{LABELS}roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: shop-server}}
subjects: [{{kind: ServiceAccount, name: shop-server}}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: shop-server
  labels:{LABELS}spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: shop-server}}
  maxReplicas: 3
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: shop
  labels:{LABELS}spec:
  selector: {{matchLabels: {{app.kubernetes.io/component: server}}}}
  endpoints: [{{port: http}}]
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata:
  name: shop-verdict
  labels:{LABELS}spec:
  metrics:
    - name: verdict
      provider: {{web: {{url: "http://shop-server.models.svc:80/v1/verdict"}}}}
"""
VALUES = {"kafka": {"sasl": {"existingSecret": "theirs"}}}


def objects(good: str = "", bad: str = "") -> Objects:
    return chart.parse(GOOD.replace(good, bad) if good else GOOD)


def references_missing(found: Objects) -> Iterator[str]:
    return references.missing(found, VALUES)


def urls(found: Objects) -> Iterator[str]:
    return references.urls(found, "models")


RULES = (*manifests.RULES, *wiring.RULES, *manifests_security.RULES, references_missing, urls)
MOUNT = "{name: scratch, mountPath: /tmp}"
SELECTOR = "{app.kubernetes.io/name: coppice, app.kubernetes.io/instance: shop}"
ACCOUNT = "      serviceAccountName: shop-server\n      automountServiceAccountToken: false\n"
SLEEP = "preStop: {sleep: {seconds: 5}}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_release_has_no_faults(rule: Callable[[Objects], Iterator[str]]) -> None:
    assert list(rule(objects())) == []


@pytest.mark.parametrize(
    ("rule", "good", "bad", "finding"),
    [
        (wiring.selectors, f"matchLabels: {SELECTOR}", "matchLabels: {a: b}", "own pods"),
        (wiring.selectors, "selector: {part: server}", "selector: {part: x}", "no pod"),
        (wiring.selectors, "component: server}}", "component: x}}", "no service"),
        (wiring.selectors, "{matchLabels: {part: server}}", "{matchLabels: {a: b}}", "spreads"),
        (wiring.ports, "targetPort: http", "targetPort: web", "no port 'web'"),
        (wiring.ports, "targetPort: http", "targetPort: 3000", "a number"),
        (wiring.ports, "path: /ready, port: http", "path: /, port: web", "to be probed"),
        (wiring.ports, "endpoints: [{port: http}]", "endpoints: [{port: web}]", "no service"),
        (wiring.ports, "name: http, c", "name: much-too-long-name, c", "no name"),
        (manifests.names, "name: shop-verdict", "name: Shop_Verdict", "DNS-1123"),
        (
            manifests.names,
            "Service\nmetadata:\n  name: shop",
            "Service\nmetadata:\n  name: 1shop",
            "begins with a letter",
        ),
        (
            manifests.names,
            "instance: shop, part: server",
            "instance: shop, part: a/b",
            "no value of a label",
        ),
        (manifests.names, 'checksum: "1"', "checksum: 1", "no text"),
        (manifests.names, 'checksum: "1"', '"a b": "1"', "no key"),
        (manifests.names, "name: fetch", "name: Fetch", "DNS-1123 label"),
        (manifests.quantities, "cpu: 250m", "cpu: lots", "no quantity"),
        (manifests.quantities, "memory: 256Mi", "memory: 256m", "part of a byte"),
        (manifests.quantities, "memory: 256Mi", "memory: 2Gi", "than its limit"),
        (manifests.quantities, "sizeLimit: 1Gi", "sizeLimit: big", "no quantity"),
        (manifests.one_handler, SLEEP, "preStop: {}", "handlers []"),
        (
            manifests.one_handler,
            "{httpGet: {path: /ready",
            "{exec: {command: [a]}, httpGet: {path: /ready",
            "'exec', 'httpGet'",
        ),
        (manifests.labelled, "    app.kubernetes.io/part-of: coppice\n", "", "lacks the labels"),
        (manifests.labelled, "instance: shop, part: server", "part: server", "pods lack"),
        (
            manifests.labelled,
            "instance: shop, part: server",
            "instance: shop, part: server, helm.sh/chart: a",
            "chart's version",
        ),
        (manifests.no_nulls, "ports: [{name: http, containerPort: 3000}]", "ports:", "is null"),
        (
            manifests.one_scaler,
            "spec:\n  selector:\n    match",
            "spec:\n  replicas: 2\n  selector:\n    match",
            "number of replicas",
        ),
        (manifests.no_routing, 'checksum: "1"', 'coppice.dev/routing: "1"', "renders"),
        (manifests.volumes, MOUNT, "{name: nowhere, mountPath: /tmp}", "is not there"),
        (manifests.volumes, MOUNT, "{name: settings, mountPath: /tmp}", "nobody mounts"),
        (manifests.volumes, MOUNT, "{name: scratch, mountPath: /etc/coppice}", "in one place"),
        (manifests.environment, "name: TOKEN_FILE", "name: COPPICE_KAFKA__SASL_PASSWORD", "twice"),
        (manifests_security.restricted, "runAsNonRoot: true", "runAsUser: 0", "as root"),
        (manifests_security.restricted, "runAsNonRoot: true", "runAsUser: 0", "group 0"),
        (manifests_security.restricted, "type: RuntimeDefault", "type: Unconfined", "seccomp"),
        (
            manifests_security.restricted,
            "allowPrivilegeEscalation: false",
            "privileged: true",
            "gain privileges",
        ),
        (
            manifests_security.restricted,
            "allowPrivilegeEscalation: false",
            "privileged: true",
            "is privileged",
        ),
        (
            manifests_security.restricted,
            "readOnlyRootFilesystem: true",
            "runAsNonRoot: true",
            "may write",
        ),
        (
            manifests_security.restricted,
            "drop: [ALL]",
            "drop: [ALL], add: [NET_RAW]",
            "capabilities",
        ),
        (
            manifests_security.restricted,
            "containerPort: 3000",
            "containerPort: 3000, hostPort: 1",
            "of the node",
        ),
        (
            manifests_security.restricted,
            "emptyDir: {sizeLimit: 1Gi}",
            "hostPath: {path: /}",
            "of kind",
        ),
        (
            manifests_security.restricted,
            "automountServiceAccountToken: false",
            "hostNetwork: true",
            "hostNetwork",
        ),
        (manifests_security.tokens, ACCOUNT, "", "default account"),
        (manifests_security.tokens, ACCOUNT, "      serviceAccountName: other\n", "no role"),
        (manifests_security.least, "verbs: [get]", 'verbs: ["*"]', "all verbs"),
        (manifests_security.least, "[deployments]", "[secrets]", "read secrets"),
        (manifests_security.least, "kind: Role\n", "kind: ClusterRole\n", "beyond"),
        (manifests_security.secrets, "kind: ConfigMap", "kind: Secret", "in the release"),
        (manifests_security.secrets, "port = 3000", 'sasl_password = "a"', "in the open"),
        (manifests_security.secrets, "name: TOKEN_FILE", "name: TOKEN", "in the open"),
        (manifests_security.pinned, "image: server:1.0", "image: server", "not pinned"),
        (manifests_security.pinned, "image: server:1.0", "image: server:latest", "not pinned"),
        (manifests_security.pinned, "@sha256:a", "@sha256:", "no digest"),
        (
            references_missing,
            "serviceAccountName: shop-server",
            "serviceAccountName: a",
            "ServiceAccount 'a'",
        ),
        (references_missing, "name: theirs", "name: nobodys", "Secret 'nobodys'"),
        (
            references_missing,
            "configMap: {name: shop-settings",
            "configMap: {name: b",
            "ConfigMap 'b'",
        ),
        (references_missing, "items: [{key: coppice.toml", "items: [{key: c", "no entry 'c'"),
        (references_missing, "kind: Role, name: shop-server", "kind: Role, name: d", "Role 'd'"),
        (
            references_missing,
            "kind: Deployment, name: shop-server",
            "kind: Deployment, name: e",
            "Deployment 'e'",
        ),
        (
            urls,
            "http://shop-server.models",
            "http://shop-monitor.models",
            "no Service 'shop-monitor'",
        ),
        (urls, "models.svc:80", "models.svc:81", "no port '81'"),
    ],
)
def test_a_rule_finds_its_fault(
    rule: Callable[[Objects], Iterator[str]], good: str, bad: str, finding: str
) -> None:
    assert good in GOOD
    assert [told for told in rule(objects(good, bad)) if finding in told]


def test_an_object_that_comes_twice_is_found() -> None:
    assert list(manifests.once([*objects(), objects()[0]])) == [
        "Deployment/shop-server comes twice"
    ]


def test_a_second_scaler_is_found() -> None:
    second = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "shop"},
        "spec": {"scaleTargetRef": {"name": "shop-server"}, "triggers": []},
    }
    (told,) = manifests.one_scaler([*objects(), second])
    assert told.endswith("is scaled by HorizontalPodAutoscaler/shop-server and ScaledObject/shop")


def test_a_pod_of_a_cron_job_is_seen() -> None:
    job = {"spec": {"template": objects()[0]["spec"]["template"]}}
    cron = {"kind": "CronJob", "metadata": {"name": "a"}, "spec": {"jobTemplate": job}}
    assert [pod.owner for pod in manifests.pods([cron])] == ["CronJob/a"]


def test_a_key_that_comes_twice_is_refused() -> None:
    with pytest.raises(chart.yaml.YAMLError, match="a comes twice"):
        chart.parse("a: 1\nb: 2\na: 3\n")


@pytest.mark.parametrize(
    ("good", "bad", "finding"),
    [
        ("containerPort: 3000", 'containerPort: "3000"', "is not of type 'integer'"),
        ("containerPort: 3000", "containerPorts: 3000", "containerPort"),
        ("TOKEN_FILE, value: /run/token", "TOKEN_FILE, value: 1", "is not of type"),
    ],
)
def test_kubernetes_refuses_what_it_does_not_know(good: str, bad: str, finding: str) -> None:
    told = list(kinds.of_kubernetes(objects(good, bad)[0]))
    assert len(told) == len(kinds.VERSIONS)
    assert all(finding in each for each in told)


def test_every_version_knows_a_hook_that_sleeps_but_the_one_before_the_first() -> None:
    assert list(kinds.of_kubernetes(objects()[0])) == []
    assert "sleep" in (kinds.built_in(objects()[0], "1.28") or "")


def test_an_unknown_kind_is_a_fault() -> None:
    unknown = {"apiVersion": "apps/v1", "kind": "Deploymint", "metadata": {"name": "a"}}
    assert len(list(kinds.of_kubernetes(unknown))) == len(kinds.VERSIONS)
    of_a_tool = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollin", "metadata": {"name": "a"}}
    assert len(list(kinds.of_tools(of_a_tool))) == 1


def test_a_tool_refuses_what_it_does_not_know() -> None:
    monitor, template = objects("port: http}]", "prot: http}]")[-2:]
    assert "prot" in "".join(kinds.of_tools(monitor))
    assert list(kinds.of_tools(template)) == []


def test_a_pod_monitor_is_held_to_its_own_fields() -> None:
    monitor = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {"name": "a"},
        "spec": {"selector": {}, "podMetricsEndpoints": [{"port": "http"}]},
    }
    assert list(kinds.of_tools(monitor)) == []
    wrong = {**monitor, "spec": {"selector": {}, "endpoints": [{"port": "http"}]}}
    assert "endpoints" in "".join(kinds.of_tools(wrong))
