{{/* Given a port: a process that hangs is started again, one that still reads a long log is not. */}}
{{- define "coppice.control.probes" -}}
startupProbe:
  httpGet:
    path: {{ ternary "/health" "/healthz" (eq . "monitor") }}
    port: {{ . }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: {{ ternary "/health" "/healthz" (eq . "monitor") }}
    port: {{ . }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: {{ ternary "/health" "/readyz" (eq . "monitor") }}
    port: {{ . }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}

{{/* What only the controller gets: the pod's identity, which usually all containers of a pod have, and
the token that its own doors ask for. */}}
{{- define "coppice.control.volumes" -}}
- name: identity
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          # The cluster puts one into every namespace.
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- with .Values.secrets.controlToken }}
{{- if .existingSecret }}
- name: token
  secret:
    secretName: {{ .existingSecret | quote }}
    items:
      - key: {{ .key | quote }}
        path: token
{{- end }}
{{- end }}
{{- end -}}

{{/* Whether pods of ours ask the cluster's API: "true" or "". */}}
{{- define "coppice.controls" -}}
{{- if and .Values.control.enabled (ne .Values.rollout.backend "none") }}true{{ end -}}
{{- end -}}

{{/* What the controller may do, by who moves the traffic; where Git says what runs, it only looks. */}}
{{- define "coppice.control.rules" -}}
{{- $server := include "coppice.server.name" . -}}
{{- $backend := .Values.rollout.backend -}}
{{- $writes := eq .Values.rollout.writeBack "cluster" -}}
{{- $verbs := ternary "[get, patch]" "[get]" $writes -}}
{{/* What a rollout tool reports lies in its own object: a watch shows it at once. */}}
{{- $watched := ternary "[get, patch, watch]" "[get, watch]" $writes -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "coppice.lease.name" . | quote }}]
  verbs: [get, update]
# What is made has no name yet that a rule could ask for.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
{{- if $writes }}
# Pods that run are told what changed.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch]
{{- end }}
{{- if eq $backend "argo" }}
- apiGroups: [argoproj.io]
  resources: [rollouts]
  resourceNames: [{{ $server }}]
  verbs: {{ $watched }}
{{- if $writes }}
- apiGroups: [argoproj.io]
  resources: [rollouts/status]
  resourceNames: [{{ $server }}]
  verbs: [patch]
{{- end }}
{{- if eq .Values.server.kind "WorkloadRef" }}
- apiGroups: [apps]
  resources: [deployments]
  resourceNames: [{{ $server }}]
  verbs: {{ $verbs }}
{{- end }}
{{- else if eq $backend "flagger" }}
- apiGroups: [flagger.app]
  resources: [canaries]
  resourceNames: [{{ $server }}]
  verbs: {{ $watched }}
- apiGroups: [apps]
  resources: [deployments]
  resourceNames: [{{ $server }}]
  verbs: {{ $verbs }}
# What Flagger copies a promoted target to.
- apiGroups: [apps]
  resources: [deployments]
  resourceNames: [{{ $server }}-primary]
  verbs: [get]
{{- else }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  resourceNames: [{{ include "coppice.route.name" . | quote }}]
  verbs: {{ $watched }}
- apiGroups: [apps]
  resources: [deployments]
  resourceNames: [{{ $server }}, {{ include "coppice.candidate.name" . }}]
  verbs: {{ $verbs }}
{{- end }}
{{- end -}}
