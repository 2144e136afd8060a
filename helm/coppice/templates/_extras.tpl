{{/* Where controllers answer; given in full, because tools that ask live in other namespaces. */}}
{{- define "coppice.control.url" -}}
http://{{ include "coppice.control.name" . }}.{{ .Release.Namespace }}.svc:{{ .Values.control.service.port }}
{{- end -}}

{{- define "coppice.verdict.name" -}}{{ include "coppice.fullname" . }}-verdict{{- end -}}
{{- define "coppice.veto.name" -}}{{ include "coppice.fullname" . }}-veto{{- end -}}

{{/* The workload that serves, as a scaler refers to it. */}}
{{- define "coppice.server.target" -}}
{{- if eq .Values.server.kind "Deployment" -}}
apiVersion: apps/v1
kind: Deployment
{{- else -}}
apiVersion: argoproj.io/v1alpha1
kind: Rollout
{{- end }}
name: {{ include "coppice.server.name" . | quote }}
{{- end -}}

{{/* Whether a scaler decides how many pods serve, so that nothing else may say it: "true" or "". */}}
{{- define "coppice.scaled" -}}
{{- if or .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled }}true{{ end -}}
{{- end -}}

{{/* Fewest pods that serve, as the budget for disruptions needs to know it. */}}
{{- define "coppice.server.fewest" -}}
{{- ternary .Values.autoscaling.minReplicas .Values.server.replicas (eq (include "coppice.scaled" .) "true") -}}
{{- end -}}

{{/* (list $ port): what asks Prometheus to look at a pod, where there is no operator. */}}
{{- define "coppice.scrape" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.metrics.scrape "annotations" -}}
prometheus.io/scrape: "true"
prometheus.io/path: /metrics
prometheus.io/port: {{ index . 1 | quote }}
{{- end -}}
{{- end -}}

{{/* (list $ job): an endpoint; where a series has its own model, that one counts. */}}
{{- define "coppice.endpoint" -}}
{{- $root := index . 0 -}}
path: /metrics
interval: {{ $root.Values.metrics.interval | quote }}
honorLabels: true
relabelings:
  - targetLabel: job
    replacement: {{ index . 1 }}
  - targetLabel: model
    replacement: {{ $root.Values.config.project.name | quote }}
{{- end -}}

{{/* (list $ component labels annotations): metadata with more labels, which win. */}}
{{- define "coppice.metadata.with" -}}
labels:
  {{- merge (dict) (index . 2) (include "coppice.labels" . | fromYaml) | toYaml | nindent 2 }}
{{- $more := dict }}{{ if gt (len .) 3 }}{{ $more = index . 3 }}{{ end }}
{{- with merge (dict) $more (index . 0).Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Whether two Services lead to the same pods while no rollout is under way, which would be counted
twice by whoever looks for pods through Services: "true" or "". */}}
{{- define "coppice.server.twice" -}}
{{- if and (eq .Values.rollout.backend "argo") .Values.rollout.argo.trafficRouting }}true{{ end -}}
{{- end -}}

{{/* Ports that show metrics, with the job of each, by component; as YAML. */}}
{{- define "coppice.watched" -}}
{{- if not (include "coppice.server.twice" .) }}
server:
  http: coppice-service
{{- end }}
{{- if .Values.control.enabled }}
control:
  monitor: coppice-monitor
  {{- if include "coppice.controls" . }}
  http: coppice-rollout
  {{- end }}
{{- end }}
{{- end -}}

{{/* The same for processes that no Service leads to: whoever scrapes them looks for their pods. */}}
{{- define "coppice.watched.apart" -}}
server:
  relay: coppice-relay
{{- if include "coppice.server.twice" . }}
  http: coppice-service
{{- end }}
{{- if .Values.control.enabled }}
control:
  relay: coppice-relay
  follow: coppice-follow
{{- end }}
{{- if eq .Values.retrain.kind "deployment" }}
retrainer:
  relay: coppice-relay
  follow: coppice-follow
  retrain: coppice-retrain
{{- end }}
{{- end -}}

{{/* Their ports, which share a pod with `serve.grpc_port`, by name; as YAML. */}}
{{- define "coppice.ports" -}}
relay: 3013
follow: 3014
retrain: 3015
{{- end -}}

{{/* (list $ name): the port of one of them, as a container's list of ports. */}}
{{- define "coppice.shown" -}}
ports:
  - name: {{ index . 1 }}
    containerPort: {{ index (include "coppice.ports" (index . 0) | fromYaml) (index . 1) }}
{{- end -}}

{{/* (list $ component ports): a monitor of pods. */}}
{{- define "coppice.podMonitor" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "coppice.fullname" $root }}-{{ $component }}
  {{- include "coppice.metadata.with" (list $root $component $root.Values.metrics.labels) | nindent 2 }}
spec:
  podTargetLabels: [rollouts-pod-template-hash, pod-template-hash]
  selector:
    matchLabels:
      {{- include "coppice.selector" (list $root $component) | nindent 6 }}
  podMetricsEndpoints:
    {{- range $port, $job := index . 2 }}
    - port: {{ $port }}
      {{- include "coppice.endpoint" (list $root $job) | nindent 6 }}
    {{- end }}
{{- end -}}

{{/* A question needs no token: those that Argo asks change nothing. */}}
{{- define "coppice.analysis.provider" -}}
web:
  url: {{ include "coppice.control.url" . }}/v1/verdict?model={{ .Values.config.project.name }}
  timeoutSeconds: 5
  jsonPath: "{$.data}"
{{- end -}}

{{/* Steps of a Rollout: the verdict decides at the weights before the last pause; a veto any time. */}}
{{- define "coppice.argo.steps" -}}
{{- $verdict := include "coppice.verdict.name" . -}}
{{- $gated := .Values.rollout.analysis.enabled -}}
{{- if $gated -}}
analysis:
  startingStep: 0
  templates:
    - templateName: {{ include "coppice.veto.name" . | quote }}
{{ end -}}
steps:
  {{- range $i, $step := .Values.rollout.steps }}
  - setWeight: {{ $step.weight | int64 }}
  {{- if and $gated (eq $i 0) }}
  - analysis:
      templates:
        - templateName: {{ $verdict | quote }}
  {{- end }}
  {{- with $step.pause }}
  - pause:
      duration: {{ . | quote }}
  {{- end }}
  {{- end }}
{{- end -}}

{{/* Components that have pods, as a list in YAML. */}}
{{- define "coppice.components" -}}
- server
{{- if .Values.control.enabled }}
- control
{{- end }}
{{- if ne .Values.retrain.kind "none" }}
- retrainer
{{- end }}
{{- end -}}

{{/* (list $target): a rule that lets through to the ports and peers of a value; no peers are all. */}}
{{- define "coppice.egress" -}}
{{- with index . 0 -}}
- ports:
    {{- range .ports }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
    {{- range .udp }}
    - port: {{ . }}
      protocol: UDP
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* The pods of this release, as a peer of a policy. */}}
{{- define "coppice.own" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/instance: {{ .Release.Name | quote }}
      app.kubernetes.io/name: {{ include "coppice.name" . | quote }}
{{- end -}}
