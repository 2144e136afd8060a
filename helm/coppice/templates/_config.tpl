{{/* A value as TOML on one line. A JSON scalar is a TOML one, and keeps whole numbers whole. */}}
{{- define "coppice.toml.value" -}}
{{- if kindIs "map" . -}}
{ {{- $table := . }}{{- range $i, $key := keys . | sortAlpha }}{{ if $i }}, {{ end }}{{ $key | toJson }} = {{ include "coppice.toml.value" (index $table $key) }}{{ end -}} }
{{- else if kindIs "slice" . -}}
[ {{- range $i, $each := . }}{{ if $i }}, {{ end }}{{ include "coppice.toml.value" $each }}{{ end -}} ]
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}

{{/* A table of tables as TOML. */}}
{{- define "coppice.toml" -}}
{{- range $table, $fields := . }}
[{{ $table }}]
{{- range $name, $value := $fields }}
{{- if not (kindIs "invalid" $value) }}
{{ $name }} = {{ include "coppice.toml.value" $value }}
{{- end }}
{{- end }}
{{ end }}
{{- end -}}

{{/* What the chart decides itself, whatever values.config says; as YAML. */}}
{{- define "coppice.config.own" -}}
{{- $backend := .Values.rollout.backend -}}
{{- $ports := include "coppice.ports" . | fromYaml -}}
store:
  home: /var/lib/coppice
  {{- with .Values.store }}
  {{- if eq .kind "pvc" }}
  registry: folder
  folder: /var/lib/coppice-registry
  {{- else }}
  registry: s3
  {{- with .s3 }}
  bucket: {{ .bucket | quote }}
  prefix: {{ .prefix | quote }}
  endpoint: {{ .endpoint | quote }}
  region: {{ .region | quote }}
  {{- end }}
  {{- end }}
  {{- end }}
serve:
  host: {{ .Values.listen | quote }}
  port: 3000
events:
  backend: kafka
monitor:
  host: {{ .Values.listen | quote }}
  port: 3001
metrics:
  host: {{ .Values.listen | quote }}
retrain:
  metrics_port: {{ $ports.retrain }}
kafka:
  relay_metrics_port: {{ $ports.relay }}
  follow_metrics_port: {{ $ports.follow }}
  {{- if .Values.secrets.kafkaTls.existingSecret }}
  tls: true
  tls_ca_file: kafka/ca.crt
  {{- if .Values.secrets.kafkaTls.certKey }}
  tls_cert_file: kafka/tls.crt
  tls_key_file: kafka/tls.key
  {{- end }}
  {{- end }}
{{- if ne $backend "none" }}
rollout:
  backend: {{ $backend | quote }}
  host: {{ .Values.listen | quote }}
  port: 3002
  {{- if .Values.secrets.controlToken.existingSecret }}
  token_file: /etc/coppice-token/token
  {{- end }}
cluster:
  namespace: {{ .Release.Namespace | quote }}
  workload: {{ include "coppice.cluster.workload" . | quote }}
  template: {{ include "coppice.cluster.template" . | quote }}
  write_back: {{ .Values.rollout.writeBack | quote }}
  {{- if eq $backend "gateway" }}
  candidate: {{ include "coppice.candidate.name" . | quote }}
  {{- end }}
  lease: {{ include "coppice.lease.name" . | quote }}
{{- end }}
{{- end -}}

{{/* What the chart suggests, where values.config says nothing else. */}}
{{- define "coppice.config.suggested" -}}
{{- if eq .Values.store.kind "s3" }}
store:
  cache_bytes: 3000000000
{{- end }}
monitor:
  group: {{ gt (int .Values.control.replicas) 1 | ternary (include "coppice.fullname" .) "" | quote }}
{{- end -}}

{{- define "coppice.config" -}}
{{- $own := include "coppice.config.own" . | fromYaml -}}
{{- $suggested := include "coppice.config.suggested" . | fromYaml -}}
{{- include "coppice.toml" (mergeOverwrite $suggested (deepCopy .Values.config) $own) | trim -}}
{{- end -}}

{{/* The object that the rollout tool looks at. */}}
{{- define "coppice.cluster.workload" -}}
{{- ternary (include "coppice.route.name" .) (include "coppice.server.name" .) (eq .Values.rollout.backend "gateway") -}}
{{- end -}}

{{/* The Deployment that holds the pod template, where that is another object; Flagger's names it. */}}
{{- define "coppice.cluster.template" -}}
{{- if or (eq .Values.server.kind "WorkloadRef") (eq .Values.rollout.backend "gateway") -}}
{{- include "coppice.server.name" . -}}
{{- end -}}
{{- end -}}
