{{/* (list $ "server"): what a workload's pods are found by; a gateway splits between two of them, and
Flagger tells its own from the target's by this label. */}}
{{- define "coppice.server.selector" -}}
{{ include "coppice.selector" (list (index . 0) "server") }}
app: {{ include (printf "coppice.%s.name" (index . 1)) (index . 0) | quote }}
{{- end -}}

{{/* (list $ "server"): how a workload has as many pods as it should, and what they are. */}}
{{- define "coppice.server.spec" -}}
{{- $root := index . 0 -}}
revisionHistoryLimit: {{ $root.Values.server.revisionHistoryLimit | int64 }}
progressDeadlineSeconds: {{ $root.Values.server.progressDeadlineSeconds | int64 }}
selector:
  matchLabels:
    {{- include "coppice.server.selector" . | nindent 4 }}
template:
  {{- include "coppice.server.template" . | nindent 2 }}
{{- end -}}

{{/* Where Git says what runs, and only there, the routing table comes with the release. */}}
{{- define "coppice.server.annotations" -}}
{{- include "coppice.scrape" (list . 3000) }}
{{- with .Values.model.routing }}
coppice.dev/routing: {{ merge (dict "model" $.Values.config.project.name) . | toJson | quote }}
{{- end }}
{{- end -}}

{{/* (list $ "server"): the pod that serves. */}}
{{- define "coppice.server.template" -}}
{{- $root := index . 0 -}}
{{- $server := $root.Values.server -}}
{{- $labels := include "coppice.server.selector" . | fromYaml -}}
metadata:
  {{- include "coppice.pod.metadata" (list $root $server "server" $labels (include "coppice.server.annotations" $root)) | nindent 2 }}
spec:
  {{- include "coppice.pod" (list $root $server "server") | nindent 2 }}
  serviceAccountName: {{ include "coppice.serviceAccount.server" $root | quote }}
  terminationGracePeriodSeconds: {{ $server.terminationGracePeriodSeconds | int64 }}
  {{- if or $root.Values.relay.native (eq $root.Values.store.kind "s3") }}
  initContainers:
    {{- if eq $root.Values.store.kind "s3" }}
    - name: pull
      {{- include "coppice.container" (list $root "worker") | nindent 6 }}
      # What the server begins with: as its annotation says, or the values.
      args: [pull, --project, /etc/coppice]
      env:
        {{- include "coppice.server.env" $root | nindent 8 }}
        {{- with $server.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      volumeMounts:
        {{- include "coppice.server.mounts" $root | nindent 8 }}
        {{- with $server.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      resources:
        {{- toYaml $root.Values.store.resources | nindent 8 }}
    {{- end }}
    {{- if $root.Values.relay.native }}
    {{- include "coppice.relay" $root | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: server
      {{- include "coppice.container" (list $root "server") | nindent 6 }}
      ports:
        - name: http
          containerPort: 3000
        {{- with ($root.Values.config.serve).grpc_port }}
        - name: grpc
          containerPort: {{ . }}
        {{- end }}
      env:
        - name: COPPICE_PROJECT
          value: /etc/coppice
        # A full volume would have the pod evicted, and its log with it.
        - name: COPPICE_EVENTS__CAP_BYTES
          value: {{ $server.state.capBytes | int64 | quote }}
        {{- include "coppice.server.env" $root | nindent 8 }}
        {{- with $server.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      volumeMounts:
        {{- include "coppice.server.mounts" $root | nindent 8 }}
        {{- with $server.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- include "coppice.server.probes" $root | nindent 6 }}
      lifecycle:
        preStop:
          {{- if and $server.preStop.native (semverCompare ">=1.30-0" $root.Capabilities.KubeVersion.Version) }}
          sleep:
            seconds: {{ $server.preStop.seconds | int64 }}
          {{- else }}
          exec:
            command: [sleep, {{ $server.preStop.seconds | quote }}]
          {{- end }}
      resources:
        {{- toYaml $server.resources | nindent 8 }}
    {{- if not $root.Values.relay.native }}
    {{- include "coppice.relay" $root | nindent 4 }}
    {{- end }}
    {{- with $server.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "coppice.volumes" (list $root true) | nindent 4 }}
    {{- include "coppice.server.volumes" $root | nindent 4 }}
    {{- with $server.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* What a pod routes by comes from its own annotation, and until there is one, from the values. */}}
{{- define "coppice.server.env" -}}
- name: COPPICE_SERVE__ROUTING_FILE
  value: routing/routing.json
- name: COPPICE_SERVE__INITIAL
  value: {{ .Values.model.initialRef | quote }}
{{- include "coppice.env" . }}
{{- include "coppice.env.store" . }}
{{- end -}}

{{- define "coppice.server.mounts" -}}
{{ include "coppice.mounts" . }}
- name: models
  mountPath: /var/lib/coppice/bentoml
{{- include "coppice.mounts.store" (list . true) }}
{{- end -}}

{{- define "coppice.server.volumes" -}}
- name: models
  emptyDir:
    sizeLimit: {{ .Values.store.sizeLimit | toJson }}
- name: state
  {{- with .Values.server.state }}
  {{- if eq .kind "ephemeral" }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .storageClassName }}
        storageClassName: {{ . | quote }}
        {{- end }}
        resources:
          requests:
            storage: {{ .size | toJson }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .size | toJson }}
  {{- end }}
  {{- end }}
{{- end -}}

{{- define "coppice.server.probes" -}}
{{- with .Values.server.probes -}}
startupProbe:
  httpGet:
    path: /v2/health/ready
    port: http
  {{- toYaml .startup | nindent 2 }}
readinessProbe:
  httpGet:
    path: /v2/health/ready
    port: http
  {{- toYaml .readiness | nindent 2 }}
livenessProbe:
  httpGet:
    path: /v2/health/live
    port: http
  {{- toYaml .liveness | nindent 2 }}
{{- end -}}
{{- end -}}
