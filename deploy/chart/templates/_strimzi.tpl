{{- define "forecaster.strimziMetadata" -}}
{{- with .Values.strimzi.namespace }}
namespace: {{ . }}
{{- end }}
labels:
  strimzi.io/cluster: {{ .Values.strimzi.cluster }}
  {{- include "forecaster.labels" . | nindent 2 }}
{{- end }}
