{{- /* Kept when the release is uninstalled: what is on it may have taken days to make. */}}
{{- define "forecaster.claim" }}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ .name }}
  labels:
    {{- include "forecaster.labels" .root | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
spec:
  accessModes: {{ toJson .claim.accessModes }}
  {{- with .claim.storageClass }}
  storageClassName: {{ quote . }}
  {{- end }}
  resources:
    requests:
      storage: {{ quote .size }}
{{- end }}
