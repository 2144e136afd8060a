{{/* What no schema can say: values that contradict each other. */}}
{{- define "coppice.check" -}}
{{- $backend := .Values.rollout.backend -}}
{{- $kind := .Values.server.kind -}}
{{- if and (eq $backend "argo") (eq $kind "Deployment") -}}
{{- fail "rollout.backend is argo, which moves the traffic of a Rollout: set server.kind to Rollout or WorkloadRef" -}}
{{- end -}}
{{- if and (ne $backend "argo") (ne $kind "Deployment") -}}
{{- fail (printf "server.kind is %s, which only Argo Rollouts understands: set rollout.backend to argo, or server.kind to Deployment" $kind) -}}
{{- end -}}
{{- if and (ne $backend "none") (not .Values.control.enabled) -}}
{{- fail (printf "rollout.backend is %s, which asks controllers for verdicts: turn control.enabled on, or set rollout.backend to none" $backend) -}}
{{- end -}}
{{- if and .Values.model.routing (ne .Values.rollout.writeBack "none") -}}
{{- fail "model.routing would take back what the controller writes at every upgrade: set rollout.writeBack to none, or leave it out" -}}
{{- end -}}
{{- $drain := add .Values.server.preStop.seconds 20 -}}
{{- if le (int .Values.server.terminationGracePeriodSeconds) (int $drain) -}}
{{- fail (printf "server.terminationGracePeriodSeconds must be above %d: server.preStop.seconds, and 20 in which requests in flight are answered" $drain) -}}
{{- end -}}
{{- if and (eq .Values.store.kind "pvc") (not .Values.store.pvc.existingClaim) -}}
{{- fail "store.kind is pvc: name the claim in store.pvc.existingClaim" -}}
{{- end -}}
{{- if and (eq .Values.store.kind "s3") (not .Values.store.s3.bucket) -}}
{{- fail "store.kind is s3: name the bucket in store.s3.bucket" -}}
{{- end -}}
{{- if and (.Values.config.kafka).sasl_mechanism (not .Values.secrets.kafkaPassword.existingSecret) -}}
{{- fail "config.kafka.sasl_mechanism needs a password: name its Secret in secrets.kafkaPassword.existingSecret" -}}
{{- end -}}
{{- if and .Values.secrets.kafkaPassword.existingSecret (not (.Values.config.kafka).sasl_mechanism) -}}
{{- fail "secrets.kafkaPassword is given, but config.kafka.sasl_mechanism says that the brokers ask for none" -}}
{{- end -}}
{{- if and (eq $backend "gateway") (include "coppice.scaled" .) -}}
{{- fail "rollout.backend is gateway, where the controller says how many pods the candidate has: an autoscaler of the server alone would starve one of the two; turn autoscaling off" -}}
{{- end -}}
{{- if and (eq $backend "gateway") (eq .Values.rollout.writeBack "none") -}}
{{- fail "rollout.backend is gateway, where the controller writes the weights, but rollout.writeBack is none: where Git says what runs, let argo or flagger move the traffic" -}}
{{- end -}}
{{- if and (eq $backend "gateway") .Values.ingress.enabled -}}
{{- fail "rollout.backend is gateway, whose route an Ingress would go around: its requests would meet pods that are changed without traffic; turn ingress.enabled off" -}}
{{- end -}}
{{- if eq $backend "flagger" -}}
{{- if not (include "coppice.scaled" .) -}}
{{- fail "rollout.backend is flagger, which has no pods of its target between trials, so that a number of them in the release would be fought over: turn autoscaling.hpa.enabled or autoscaling.keda.enabled on; for a fixed number let minReplicas be maxReplicas" -}}
{{- end -}}
{{- if and (hasPrefix "gatewayapi:" .Values.flagger.provider) (not .Values.flagger.gatewayRefs) -}}
{{- fail (printf "flagger.provider is %s: name the gateway in flagger.gatewayRefs, else its route belongs to none" .Values.flagger.provider) -}}
{{- end -}}
{{- if and (has .Values.flagger.provider (list "nginx" "skipper")) (not .Values.ingress.enabled) -}}
{{- fail (printf "flagger.provider is %s, which splits the traffic of an Ingress: turn ingress.enabled on" .Values.flagger.provider) -}}
{{- end -}}
{{- end -}}
{{- if and (include "coppice.scaled" .) (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and (has (toString .Values.server.maxSurge) (list "0" "0%")) (has (toString .Values.server.maxUnavailable) (list "0" "0%")) -}}
{{- fail "server.maxSurge and server.maxUnavailable are both 0, so that no pod could be replaced: give one of them at least 1" -}}
{{- end -}}
{{- include "coppice.check.names" . -}}
{{- include "coppice.check.ports" . -}}
{{- include "coppice.check.env" . -}}
{{- include "coppice.check.networks" . -}}
{{- end -}}

{{/* Names that a cluster would refuse, or take for another's. */}}
{{- define "coppice.check.names" -}}
{{- $name := include "coppice.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "%s cannot begin the name of a Service, which begins with a letter and has no dots: set fullnameOverride" $name) -}}
{{- end -}}
{{- range $part, $account := .Values.serviceAccount -}}
{{- if not (or $account.create $account.name) -}}
{{- fail (printf "serviceAccount.%s.create is false: name the account that is there in serviceAccount.%s.name" $part $part) -}}
{{- end -}}
{{- end -}}
{{- if eq (include "coppice.serviceAccount.server" .) (include "coppice.serviceAccount.control" .) -}}
{{- if and .Values.serviceAccount.server.create .Values.serviceAccount.control.create -}}
{{- fail "serviceAccount.server.name and serviceAccount.control.name are the same, which cannot be made twice: pods that serve need none of the rights of those that control" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Variables that are set twice: server-side apply takes no list with two of a name. */}}
{{- define "coppice.check.env" -}}
{{- $own := list "COPPICE_PROJECT" "COPPICE_EVENTS__CAP_BYTES" -}}
{{- range include "coppice.server.env" . | fromYamlArray -}}
{{- $own = append $own .name -}}
{{- end -}}
{{- range $part := list "server" "control" "retrain" -}}
{{- $seen := list -}}
{{- range (index $.Values $part).extraEnv -}}
{{- if has .name $own -}}
{{- fail (printf "%s.extraEnv has %s, which the chart sets itself: leave it out, and set the value that it comes from" $part .name) -}}
{{- end -}}
{{- if has .name $seen -}}
{{- fail (printf "%s.extraEnv has %s twice" $part .name) -}}
{{- end -}}
{{- $seen = append $seen .name -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Ports that two would have. */}}
{{- define "coppice.check.ports" -}}
{{- with ($.Values.config.serve).grpc_port -}}
{{- $taken := list 3000 (include "coppice.ports" $ | fromYaml).relay | toStrings -}}
{{- if has (toString .) $taken -}}
{{- fail (printf "config.serve.grpc_port is %v, where the server or its relay listens: choose none of %s" . (join ", " $taken)) -}}
{{- end -}}
{{- if eq (int .) (int $.Values.server.service.port) -}}
{{- fail (printf "config.serve.grpc_port is %v, the port of server.service: a Service has each port once" .) -}}
{{- end -}}
{{- end -}}
{{- with .Values.control.service -}}
{{- if eq (int .port) (int .monitorPort) -}}
{{- fail "control.service.port and control.service.monitorPort are the same: a Service has each port once" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Addresses that pods are given, and that their policy would shut. What networkPolicy.extraEgress opens
is not looked into. */}}
{{- define "coppice.check.networks" -}}
{{- $asking := or (eq .Values.rollout.backend "flagger") (and (eq .Values.rollout.backend "argo") .Values.rollout.analysis.enabled) -}}
{{- if and .Values.networkPolicy.enabled $asking (not .Values.networkPolicy.tools) -}}
{{- fail (printf "networkPolicy.tools is empty, so that %s could not ask for verdicts, and would give up every rollout: name its namespace there" .Values.rollout.backend) -}}
{{- end -}}
{{- with .Values.networkPolicy -}}
{{- if and .enabled (not .extraEgress) -}}
{{- range splitList "," $.Values.config.kafka.servers -}}
{{- $port := trim . | regexFind ":[0-9]+$" | trimPrefix ":" -}}
{{- if and $port (not (has $port (toStrings $.Values.networkPolicy.kafka.ports))) -}}
{{- fail (printf "config.kafka.servers has port %s, which networkPolicy.kafka.ports shuts: add it there" $port) -}}
{{- end -}}
{{- end -}}
{{- with $.Values.store.s3.endpoint -}}
{{- $port := urlParse . | dig "host" "" | regexFind ":[0-9]+$" | trimPrefix ":" | default (ternary "80" "443" (hasPrefix "http:" .)) -}}
{{- if and (eq $.Values.store.kind "s3") (not (has $port (toStrings $.Values.networkPolicy.objectStore.ports))) -}}
{{- fail (printf "store.s3.endpoint has port %s, which networkPolicy.objectStore.ports shuts: add it there" $port) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
