{{- define "forecaster.strimziMetadata" -}}
{{- with .Values.strimzi.namespace }}
namespace: {{ quote . }}
{{- end }}
labels:
  strimzi.io/cluster: {{ quote .Values.strimzi.cluster }}
  {{- include "forecaster.labels" . | nindent 2 }}
{{- end }}
