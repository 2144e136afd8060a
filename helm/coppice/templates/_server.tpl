{{/* The pod that serves: (list $ component), where a gateway splits between two of them. */}}
{{- define "coppice.server.template" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $server := $root.Values.server -}}
metadata:
  {{- include "coppice.pod.metadata" (list $root $server $component) | nindent 2 }}
spec:
  {{- include "coppice.pod" (list $root $server $component) | nindent 2 }}
  serviceAccountName: {{ include "coppice.serviceAccount.server" $root }}
  terminationGracePeriodSeconds: {{ $server.terminationGracePeriodSeconds }}
  initContainers:
    - name: pull
      {{- include "coppice.container" (list $root "worker") | nindent 6 }}
      args:
        {{- include "coppice.server.pull" $root | nindent 8 }}
      {{- with include "coppice.env" $root | trim }}
      env:
        {{- . | nindent 8 }}
      {{- end }}
      volumeMounts:
        {{- include "coppice.server.mounts" $root | nindent 8 }}
      resources:
        {{- toYaml $root.Values.store.resources | nindent 8 }}
    {{- if $root.Values.relay.native }}
    - {{- include "coppice.server.relay" $root | nindent 6 }}
      restartPolicy: Always
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
        {{- with include "coppice.env" $root | trim }}
        {{- . | nindent 8 }}
        {{- end }}
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
          {{- if $server.preStop.native }}
          sleep:
            seconds: {{ $server.preStop.seconds }}
          {{- else }}
          exec:
            command: [sleep, {{ $server.preStop.seconds | quote }}]
          {{- end }}
      resources:
        {{- toYaml $server.resources | nindent 8 }}
    {{- if not $root.Values.relay.native }}
    - {{- include "coppice.server.relay" $root | nindent 6 }}
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

{{- define "coppice.server.pull" -}}
- pull
- --project
- /etc/coppice
- {{ .Values.model.initialRef | quote }}
{{- end -}}

{{/* Ships what the server logs; in the same folder, because it reads the server's own log. */}}
{{- define "coppice.server.relay" -}}
name: relay
{{ include "coppice.container" (list . "worker") }}
args: [relay, --project, /etc/coppice]
{{- with include "coppice.env" . | trim }}
env:
  {{- . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "coppice.mounts" . | nindent 2 }}
resources:
  {{- toYaml .Values.relay.resources | nindent 2 }}
{{- end -}}

{{- define "coppice.server.mounts" -}}
{{ include "coppice.mounts" . }}
- name: models
  mountPath: /var/lib/coppice/bentoml
{{- end -}}

{{- define "coppice.server.volumes" -}}
- name: models
  emptyDir:
    sizeLimit: {{ .Values.store.sizeLimit }}
- name: state
  {{- with .Values.server.state }}
  {{- if eq .kind "ephemeral" }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .storageClassName }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ .size }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .size }}
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
