{{/* Names ----------------------------------------------------------------- */}}

{{- define "coppice.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What every object's name begins with; short, because names of pods get suffixes. */}}
{{- define "coppice.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "coppice.server.name" -}}{{ include "coppice.fullname" . }}-server{{- end -}}
{{- define "coppice.candidate.name" -}}{{ include "coppice.fullname" . }}-candidate{{- end -}}
{{- define "coppice.control.name" -}}{{ include "coppice.fullname" . }}-control{{- end -}}
{{- define "coppice.retrainer.name" -}}{{ include "coppice.fullname" . }}-retrainer{{- end -}}
{{/* The route whose weights the controller moves. */}}
{{- define "coppice.route.name" -}}{{ include "coppice.fullname" . }}{{- end -}}
{{- define "coppice.lease.name" -}}{{ include "coppice.fullname" . }}{{- end -}}

{{- define "coppice.serviceAccount.server" -}}
{{- default (include "coppice.server.name" .) .Values.serviceAccount.server.name -}}
{{- end -}}
{{- define "coppice.serviceAccount.control" -}}
{{- default (include "coppice.control.name" .) .Values.serviceAccount.control.name -}}
{{- end -}}

{{/* Labels ---------------------------------------------------------------- */}}

{{/* Of an object, given (list $ "server"). */}}
{{- define "coppice.labels" -}}
{{- $root := index . 0 -}}
{{- $own := include "coppice.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "coppice" -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_")) -}}
{{- merge $own $root.Values.commonLabels | toYaml -}}
{{- end -}}

{{/* What pods are found by; never changes within a release. */}}
{{- define "coppice.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "coppice.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Of every object: (list $ "server" annotations). */}}
{{- define "coppice.metadata" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "coppice.labels" . | nindent 2 }}
{{- $annotations := merge (dict) $root.Values.commonAnnotations }}
{{- if gt (len .) 2 }}{{ $annotations = merge (dict) (index . 2) $annotations }}{{ end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Images ---------------------------------------------------------------- */}}

{{/* (list $ "server"): by digest where there is one, which a tag cannot change. */}}
{{- define "coppice.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}
