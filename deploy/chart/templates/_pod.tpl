{{- /* What every pod of the chart has: no token, no service variables (which would be settings), no root. */}}
{{- define "forecaster.podDefaults" -}}
serviceAccountName: {{ include "forecaster.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "forecaster.tolerations" -}}
{{- $tolerations := .root.Values.tolerations -}}
{{- if .gpu }}{{ $tolerations = append $tolerations (dict "key" .root.Values.gpu.resource "operator" "Exists" "effect" "NoSchedule") }}{{ end -}}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "forecaster.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "forecaster.resources" -}}
{{- $resources := deepCopy .resources -}}
{{- if .gpu }}{{ $_ := set $resources "limits" (merge (dict .root.Values.gpu.resource .gpu) ($resources.limits | default dict)) }}{{ end -}}
resources:
  {{- toYaml $resources | nindent 2 }}
{{- end }}

{{- /* The files of Kafka's secrets: as a volume they follow what is rotated. */}}
{{- define "forecaster.kafkaVolume" -}}
{{- $credential := include "forecaster.credential" . -}}
{{- if or .Values.kafka.caSecret.name $credential }}
- name: kafka
  projected:
    defaultMode: 0440
    sources:
      {{- with .Values.kafka.caSecret }}{{ if .name }}
      - secret:
          name: {{ .name }}
          items:
            - {key: {{ .key }}, path: ca.crt}
      {{- end }}{{ end }}
      {{- with .Values.kafka.userSecret }}{{ if $credential }}
      - secret:
          name: {{ include "forecaster.userSecret" $ }}
          items:
            {{- if eq $credential "password" }}
            - {key: {{ .passwordKey }}, path: password}
            {{- else if eq $credential "token" }}
            - {key: {{ .tokenKey }}, path: token}
            {{- else }}
            - {key: {{ .certKey }}, path: user.crt}
            - {key: {{ .keyKey }}, path: user.key}
            {{- end }}
      {{- end }}{{ end }}
{{- end }}
{{- end }}

{{- define "forecaster.kafkaMount" -}}
{{- if include "forecaster.kafkaVolume" . }}
- name: kafka
  mountPath: /etc/kafka
  readOnly: true
{{- end }}
{{- end }}

{{- define "forecaster.modelVolume" -}}
{{- $model := .Values.model -}}
- name: model
  {{- if eq $model.source "claim" }}
  persistentVolumeClaim:
    claimName: {{ include "forecaster.modelClaim" . }}
    readOnly: true
  {{- else if eq $model.source "imageVolume" }}
  image:
    reference: {{ $model.image.reference }}
    pullPolicy: {{ $model.image.pullPolicy }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ $model.size }}
  {{- end }}
{{- end }}

{{- /* Brings the bundle into the pod, where no volume has it already. */}}
{{- define "forecaster.modelInit" -}}
{{- $model := .Values.model -}}
{{- if eq $model.source "image" }}
- name: model
  image: {{ $model.image.reference }}
  imagePullPolicy: {{ $model.image.pullPolicy }}
  command: [cp, -r, /{{ $model.image.path }}/., /models/]
  {{- include "forecaster.containerSecurity" . | nindent 2 }}
  resources:
    limits:
      memory: 128Mi
  volumeMounts:
    - name: model
      mountPath: /models
{{- else if eq $model.source "url" }}
- name: model
  image: {{ include "forecaster.image" (dict "root" . "gpu" .Values.gpu.count) }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [fetch, --url, $(BUNDLE_URL), --sha256, {{ $model.url.sha256 }}, --out, /models/current]
  env:
    - name: BUNDLE_URL
      {{- with $model.url }}{{ if .secret.name }}
      valueFrom:
        secretKeyRef:
          name: {{ .secret.name }}
          key: {{ .secret.key }}
      {{- else }}
      value: {{ .address | quote }}
      {{- end }}{{ end }}
  {{- include "forecaster.containerSecurity" . | nindent 2 }}
  resources:
    limits:
      memory: 1Gi
  volumeMounts:
    - name: model
      mountPath: /models
    - name: tmp
      mountPath: /tmp
{{- end }}
{{- end }}
