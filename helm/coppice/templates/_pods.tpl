{{/* Parts that all pods share ---------------------------------------------- */}}

{{/* (list $ pod-values component): where a pod may run, and as whom. */}}
{{- define "coppice.pod" -}}
{{- $root := index . 0 -}}
{{- $pod := index . 1 -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.topologySpread }}
topologySpreadConstraints:
  {{- range . }}
  {{- $found := dict "matchLabels" (include "coppice.selector" (list $root (index $ 2)) | fromYaml) }}
  - {{- merge (dict "labelSelector" $found) . | toYaml | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* (list $ pod-values component labels annotations-as-text): metadata of a pod template. No key of coppice.dev is ever among
the annotations: the controller writes them, and an upgrade must not take them back. */}}
{{- define "coppice.pod.metadata" -}}
{{- $root := index . 0 -}}
{{- $pod := index . 1 -}}
labels:
  {{- $own := include "coppice.selector" (list $root (index . 2)) | fromYaml }}
  {{- merge $own (index . 3) $pod.podLabels $root.Values.commonLabels | toYaml | nindent 2 }}
annotations:
  {{- $sum := dict "checksum/config" (include "coppice.config.data" $root | sha256sum) }}
  {{- merge $sum $pod.podAnnotations (index . 4 | fromYaml) | toYaml | nindent 2 }}
{{- end -}}

{{/* (list $ image-name): image, policy and security context of a container. */}}
{{- define "coppice.container" -}}
{{- $root := index . 0 -}}
image: {{ include "coppice.image" . | quote }}
imagePullPolicy: {{ (index $root.Values.images (index . 1)).pullPolicy | quote }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  privileged: false
  readOnlyRootFilesystem: true
{{- end -}}

{{/* Environment of every process of ours: secrets come from Secrets only. */}}
{{- define "coppice.env" -}}
{{- /* The images say where to listen, too, and the environment wins over the settings. */}}
- name: COPPICE_SERVE__HOST
  value: {{ .Values.listen | quote }}
- name: COPPICE_MONITOR__HOST
  value: {{ .Values.listen | quote }}
{{- with .Values.secrets.kafkaPassword }}
{{- if .existingSecret }}
- name: COPPICE_KAFKA__SASL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with .Values.secrets.routingKey }}
{{- if .existingSecret }}
- name: COPPICE_SERVE__ROUTING_KEY_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where the registry's credentials come from; only for what reads or writes it. */}}
{{- define "coppice.env.store" -}}
{{- if and (eq .Values.store.kind "s3") .Values.store.s3.existingSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ .Values.store.s3.existingSecret | quote }}
      key: {{ .Values.store.s3.accessKeyKey | quote }}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.store.s3.existingSecret | quote }}
      key: {{ .Values.store.s3.secretKeyKey | quote }}
{{- end }}
{{- end -}}

{{/* (list $ read-only): where versions lie, for what reads or writes them. */}}
{{- define "coppice.mounts.store" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.store.kind "pvc" }}
- name: registry
  mountPath: /var/lib/coppice-registry
  {{- with $root.Values.store.pvc.subPath }}
  subPath: {{ . | quote }}
  {{- end }}
  readOnly: {{ index . 1 }}
{{- end }}
{{- end -}}

{{/* Mounts and volumes of every pod of ours. */}}
{{- define "coppice.mounts" -}}
- name: project
  mountPath: /etc/coppice
  readOnly: true
- name: state
  mountPath: /var/lib/coppice
- name: tmp
  mountPath: /tmp
{{- end -}}

{{/* (list $ routed): the project's folder, in which pods that serve find what they route by. */}}
{{- define "coppice.volumes" -}}
{{- $root := index . 0 -}}
- name: project
  projected:
    sources:
      - configMap:
          name: {{ include "coppice.fullname" $root | quote }}
      {{- with $root.Values.secrets.kafkaTls }}
      {{- if .existingSecret }}
      - secret:
          name: {{ .existingSecret | quote }}
          items:
            - key: {{ .caKey | quote }}
              path: kafka/ca.crt
            {{- if .certKey }}
            - key: {{ .certKey | quote }}
              path: kafka/tls.crt
            - key: {{ .keyKey | quote }}
              path: kafka/tls.key
            {{- end }}
      {{- end }}
      {{- end }}
      {{- if index . 1 }}
      - downwardAPI:
          items:
            - path: routing/routing.json
              fieldRef:
                fieldPath: metadata.annotations['coppice.dev/routing']
      {{- end }}
- name: tmp
  emptyDir:
    sizeLimit: {{ $root.Values.tmpSizeLimit | toJson }}
{{- if eq $root.Values.store.kind "pvc" }}
- name: registry
  persistentVolumeClaim:
    claimName: {{ $root.Values.store.pvc.existingClaim | quote }}
{{- end }}
{{- end -}}

{{/* (list $ name arguments resources store pod-values): a process of the worker's image, as an element of
a list; where it has to do with versions, with what the store asks for; with more environment and mounts
where the values of its pod name some. */}}
{{- define "coppice.process" -}}
{{- $root := index . 0 -}}
{{- $pod := index . 5 -}}
- name: {{ index . 1 }}
  {{- include "coppice.container" (list $root "worker") | nindent 2 }}
  args: {{ concat (index . 2) (list "--project" "/etc/coppice") | toJson }}
  {{- $env := include "coppice.env" $root }}
  {{- if index . 4 }}{{ $env = print $env (include "coppice.env.store" $root) }}{{ end }}
  {{- with $pod.extraEnv }}{{ $env = print $env "\n" (toYaml .) }}{{ end }}
  {{- with trim $env }}
  env:
    {{- . | nindent 4 }}
  {{- end }}
  resources:
    {{- toYaml (index . 3) | nindent 4 }}
  volumeMounts:
    {{- include "coppice.mounts" $root | nindent 4 }}
    {{- if index . 4 }}
    {{- include "coppice.mounts.store" (list $root false) | nindent 4 }}
    {{- end }}
    {{- with $pod.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* What sends this pod's log to Kafka: a process that starts before the others and ends after
them, so that it sends what they left. */}}
{{- define "coppice.relay" -}}
{{ include "coppice.process" (list . "relay" (list "relay") .Values.relay.resources false dict) }}
  {{- include "coppice.shown" (list . "relay") | nindent 2 }}
{{- if .Values.relay.native }}
  restartPolicy: Always
{{- end }}
{{- end -}}

{{/* What keeps this pod's replica of the log. */}}
{{- define "coppice.follow" -}}
{{ include "coppice.process" (list . "follow" (list "follow") .Values.control.follow.resources false dict) }}
  {{- include "coppice.shown" (list . "follow") | nindent 2 }}
{{- if .Values.relay.native }}
  restartPolicy: Always
{{- end }}
{{- end -}}
