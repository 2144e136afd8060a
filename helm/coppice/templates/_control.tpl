{{/* Given a port: a process that hangs is started again. */}}
{{- define "coppice.control.probes" -}}
livenessProbe:
  httpGet:
    path: {{ ternary "/health" "/healthz" (eq . "monitor") }}
    port: {{ . }}
  initialDelaySeconds: 10
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

{{/* What a pod's identity usually brings along, for one container of the pod instead of all. */}}
{{- define "coppice.control.token" -}}
- name: token
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
{{- end -}}

{{/* Whether pods of ours ask the cluster's API: "true" or "". */}}
{{- define "coppice.controls" -}}
{{- if and .Values.control.enabled (ne .Values.rollout.backend "none") }}true{{ end -}}
{{- end -}}

{{/* What the controller may do, by who moves the traffic. */}}
{{- define "coppice.control.rules" -}}
{{- $server := include "coppice.server.name" . -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "coppice.lease.name" . }}]
  verbs: [get, update]
# What is made has no name yet that a rule could ask for.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch]
{{- if eq .Values.rollout.backend "argo" }}
- apiGroups: [argoproj.io]
  resources: [rollouts]
  resourceNames: [{{ $server }}]
  verbs: [get, patch]
- apiGroups: [argoproj.io]
  resources: [rollouts/status]
  resourceNames: [{{ $server }}]
  verbs: [patch]
{{- else if eq .Values.rollout.backend "flagger" }}
- apiGroups: [flagger.app]
  resources: [canaries]
  resourceNames: [{{ $server }}]
  verbs: [get, patch]
{{- else }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  resourceNames: [{{ include "coppice.route.name" . }}]
  verbs: [get, patch]
{{- end }}
{{- $deployments := list -}}
{{- if or (eq .Values.server.kind "WorkloadRef") (ne .Values.rollout.backend "argo") }}
{{- $deployments = append $deployments $server }}
{{- end }}
{{- if eq .Values.rollout.backend "gateway" }}
{{- $deployments = append $deployments (include "coppice.candidate.name" .) }}
{{- end }}
{{- with $deployments }}
- apiGroups: [apps]
  resources: [deployments]
  resourceNames: {{ toJson . }}
  verbs: [get, patch]
{{- end }}
{{- end -}}
