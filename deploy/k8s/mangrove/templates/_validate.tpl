{{/* What the schema cannot say. All contradictions at once. */}}
{{- define "mangrove.validate" -}}
{{- $problems := list -}}
{{- if not .Values.config.stream.name -}}
{{- $problems = append $problems "config.stream.name must be set: the Kinesis stream to read" -}}
{{- end -}}
{{- if not .Values.config.bucket.name -}}
{{- $problems = append $problems "config.bucket.name must be set: the S3 bucket to write to" -}}
{{- end -}}
{{- if and .Values.config.schema.use .Values.eventSchema -}}
{{- $problems = append $problems "config.schema.use and eventSchema are both set: choose one" -}}
{{- else if not (or .Values.config.schema.use .Values.eventSchema) -}}
{{- $problems = append $problems "config.schema.use or eventSchema must be set: what an event looks like" -}}
{{- end -}}
{{- if and .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled -}}
{{- $problems = append $problems "autoscaling.hpa and autoscaling.keda are both enabled: they would work against each other" -}}
{{- end -}}
{{- if lt (.Values.autoscaling.maxReplicas | int) (.Values.autoscaling.minReplicas | int) -}}
{{- $problems = append $problems "autoscaling.maxReplicas is below autoscaling.minReplicas" -}}
{{- end -}}
{{- if and (eq .Values.aws.identity "irsa") (not .Values.aws.roleArn) -}}
{{- $problems = append $problems "aws.identity is irsa: aws.roleArn must name the role" -}}
{{- end -}}
{{- if and (ne .Values.aws.identity "irsa") .Values.aws.roleArn -}}
{{- $problems = append $problems (printf "aws.roleArn is for aws.identity irsa, not %s" .Values.aws.identity) -}}
{{- end -}}
{{- $grace := .Values.terminationGracePeriodSeconds | int -}}
{{- $graceMin := include "mangrove.graceMin" . | int -}}
{{- if and $grace (lt $grace $graceMin) -}}
{{- $problems = append $problems (printf "terminationGracePeriodSeconds is %d: a drain of %s after %d s of preStop, and 5 s to end, need %d. Workers would be killed before they release their leases" $grace .Values.config.worker.drain_timeout (.Values.preStopSeconds | int) $graceMin) -}}
{{- end -}}
{{- $memory := include "mangrove.mib" .Values.resources.limits.memory | int -}}
{{- /* As the binary checks it: the budget, the process, and 16 KiB for each live sensor. */ -}}
{{- $live := dig "sensors" "live_max" 10000 .Values.config | int -}}
{{- $needed := add (include "mangrove.mib" .Values.config.worker.memory_budget | int) 97 (div (mul $live 16) 1024) -}}
{{- if lt $memory ($needed | int) -}}
{{- $problems = append $problems (printf "resources.limits.memory is %d MiB: a budget of %s and %d live sensors (config.sensors.live_max) needs at least %d MiB" $memory .Values.config.worker.memory_budget $live $needed) -}}
{{- end -}}
{{- $workers := ternary .Values.autoscaling.minReplicas .Values.replicas (or .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled) | int -}}
{{- if and .Values.podDisruptionBudget.enabled (gt $workers 0) (gt (.Values.podDisruptionBudget.maxUnavailable | int) $workers) -}}
{{- $problems = append $problems (printf "podDisruptionBudget.maxUnavailable is above the number of workers (%d): it protects nothing" $workers) -}}
{{- end -}}
{{- $annotations := add (len (include "mangrove.toml" .)) (len .Values.eventSchema) -}}
{{- if gt ($annotations | int) 204800 -}}
{{- $problems = append $problems (printf "config and eventSchema have %d bytes: they are annotations of the pod, which may have 262144 in all; 204800 are left for them" $annotations) -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n  - %s" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}
