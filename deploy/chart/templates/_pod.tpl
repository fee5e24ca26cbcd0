{{- /* What every pod of the chart has: no token, no service variables (which would be settings), no root. */}}
{{- define "forecaster.podDefaults" -}}
serviceAccountName: {{ include "forecaster.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- with .Values.user }}
  runAsUser: {{ . }}
  runAsGroup: {{ . }}
  fsGroup: {{ . }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ quote . }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ quote . }}
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

{{- define "forecaster.env" -}}
{{- if eq .Values.workload "StatefulSet" }}
- name: FORECASTER_KAFKA__GROUP_INSTANCE_ID # a restarted pod gets its partitions back without a rebalance
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- else if and .Values.keda.enabled (eq (include "forecaster.credential" .) "password") }}
- name: FORECASTER_KAFKA__SASL_USERNAME # from here KEDA takes it
  value: {{ include "forecaster.username" . | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
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
          name: {{ quote .name }}
          items:
            - {key: {{ quote .key }}, path: ca.crt}
      {{- end }}{{ end }}
      {{- with .Values.kafka.userSecret }}{{ if $credential }}
      - secret:
          name: {{ include "forecaster.userSecret" $ | quote }}
          items:
            {{- if eq $credential "password" }}
            - {key: {{ quote .passwordKey }}, path: password}
            {{- else if eq $credential "token" }}
            - {key: {{ quote .tokenKey }}, path: token}
            {{- else }}
            - {key: {{ quote .certKey }}, path: user.crt}
            - {key: {{ quote .keyKey }}, path: user.key}
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
    claimName: {{ include "forecaster.modelClaim" . | quote }}
    readOnly: true
  {{- else if eq $model.source "imageVolume" }}
  image:
    reference: {{ quote $model.image.reference }}
    pullPolicy: {{ $model.image.pullPolicy }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ quote $model.size }}
  {{- end }}
{{- end }}

{{- /* Brings the bundle into the pod, where no volume has it already. */}}
{{- define "forecaster.modelInit" -}}
{{- $model := .Values.model -}}
{{- if eq $model.source "image" }}
- name: model
  image: {{ quote $model.image.reference }}
  imagePullPolicy: {{ $model.image.pullPolicy }}
  command: [cp, -r, {{ printf "/%s/." $model.image.path | quote }}, /models/]
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
  args: [fetch, --url, $(BUNDLE_URL), --sha256, {{ quote $model.url.sha256 }}, --out, /models/current]
  env:
    - name: BUNDLE_URL
      {{- with $model.url }}{{ if .secret.name }}
      valueFrom:
        secretKeyRef:
          name: {{ quote .secret.name }}
          key: {{ quote .secret.key }}
      {{- else }}
      value: {{ .address | quote }}
      {{- end }}{{ end }}
    {{- with .Values.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- include "forecaster.containerSecurity" . | nindent 2 }}
  resources:
    limits:
      memory: 1Gi
  volumeMounts:
    - name: model
      mountPath: /models
    - name: tmp
      mountPath: /tmp
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}
