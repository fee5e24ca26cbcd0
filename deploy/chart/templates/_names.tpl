{{- define "forecaster.name" -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- $name := ternary $release (printf "%s-forecaster" $release) (contains "forecaster" $release) -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "forecaster.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: forecaster
{{- end }}

{{- /* What a selector may hold on to; the component is daemon, training or remove-members. */}}
{{- define "forecaster.selector" -}}
app.kubernetes.io/name: forecaster
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "forecaster.image" -}}
{{- $image := .root.Values.image -}}
{{- $tag := $image.tag | default (printf "%s%s" .root.Chart.AppVersion (ternary "-gpu" "" (gt (int .gpu) 0))) -}}
{{- $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $tag }}{{ end -}}
{{- end }}

{{- define "forecaster.modelClaim" -}}
{{- .Values.model.claim.create | ternary (printf "%s-model" (include "forecaster.name" .)) .Values.model.claim.name -}}
{{- end }}

{{- define "forecaster.userSecret" -}}
{{- .Values.kafka.userSecret.name | default (ternary (include "forecaster.name" .) "" .Values.strimzi.user.enabled) -}}
{{- end }}

{{- define "forecaster.dataClaim" -}}
{{- .Values.training.claim.create | ternary (printf "%s-data" (include "forecaster.name" .)) .Values.training.claim.name -}}
{{- end }}
