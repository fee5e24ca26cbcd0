{{- define "forecaster.trainingName" -}}
{{- include "forecaster.name" . }}-training
{{- end }}

{{- /* A Job is never changed: with other settings or another image it is another one. */}}
{{- define "forecaster.trainingJobName" -}}
{{- $what := list (include "forecaster.trainingToml" .) (include "forecaster.trainingSpec" .) -}}
{{- include "forecaster.trainingName" . }}-{{ join "\n" $what | sha256sum | trunc 8 -}}
{{- end }}

{{- /* Whether several pods share a training, or nothing. */}}
{{- define "forecaster.sharedTraining" -}}
{{- if and .Values.training.enabled (gt (int .Values.training.workers) 1) }}true{{ end -}}
{{- end }}

{{- define "forecaster.trainingArguments" -}}
{{- $training := .Values.training -}}
{{- $arguments := list "train" "--config=/etc/forecaster/train.toml" (printf "--out=%s" (include "forecaster.bundle" .)) -}}
{{- if eq $training.source "topic" -}}
{{- $arguments = append $arguments "--from-kafka" -}}
{{- with $training.since }}{{ $arguments = append $arguments (printf "--from=%s" .) }}{{ end -}}
{{- else -}}
{{- $arguments = append $arguments (printf "--input=/data/%s" $training.claim.file) -}}
{{- end -}}
{{- concat $arguments $training.arguments | toJson -}}
{{- end }}

{{- /* TensorFlow's list of workers, by the names that the Job, its index and the Service give them. */}}
{{- define "forecaster.trainingCluster" -}}
{{- $workers := list -}}
{{- range until (int .Values.training.workers) -}}
{{- $workers = append $workers (printf "$(JOB)-%d.%s:2222" . (include "forecaster.trainingName" $)) -}}
{{- end -}}
{"cluster": {"worker": {{ toJson $workers }}}, "task": {"type": "worker", "index": $(WORKER)}}
{{- end }}

{{- define "forecaster.trainingSpec" -}}
{{- $training := .Values.training }}
{{- $shared := include "forecaster.sharedTraining" . }}
{{- if $shared }}
completionMode: Indexed
completions: {{ $training.workers }}
parallelism: {{ $training.workers }}
{{- end }}
# One that ends early, and takes the others with it, is followed by another: all go on from the checkpoint.
backoffLimit: {{ mul 10 $training.workers }}
podFailurePolicy:
  rules:
    - action: FailJob # a wrong setting or file: the same again would not help
      onExitCodes:
        containerName: train
        operator: In
        values: [2]
    - action: Ignore # the node was drained
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
template:
  metadata:
    labels:
      {{- include "forecaster.selector" (dict "root" . "component" "training") | nindent 6 }}
  spec:
    {{- include "forecaster.podDefaults" . | nindent 4 }}
    {{- with include "forecaster.tolerations" (dict "root" . "gpu" $training.gpu) }}{{ trim . | nindent 4 }}{{ end }}
    restartPolicy: Never
    {{- if $shared }}
    subdomain: {{ include "forecaster.trainingName" . }}
    {{- end }}
    containers:
      - name: train
        image: {{ include "forecaster.image" (dict "root" . "gpu" $training.gpu) | quote }}
        imagePullPolicy: {{ .Values.image.pullPolicy }}
        args: {{ include "forecaster.trainingArguments" . }}
        {{- if or $shared .Values.extraEnv }}
        env:
          {{- with .Values.extraEnv }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
        {{- end }}
        {{- if $shared }}
          - name: JOB # of a CronJob another one each time
            valueFrom:
              fieldRef:
                fieldPath: metadata.labels['batch.kubernetes.io/job-name']
          - name: WORKER
            valueFrom:
              fieldRef:
                fieldPath: metadata.labels['batch.kubernetes.io/job-completion-index']
          - name: TF_CONFIG
            value: {{ include "forecaster.trainingCluster" . | squote }}
        ports:
          - name: workers
            containerPort: 2222
        {{- end }}
        {{- include "forecaster.resources" (dict "root" . "resources" $training.resources "gpu" $training.gpu) | nindent 8 }}
        {{- include "forecaster.containerSecurity" . | nindent 8 }}
        volumeMounts:
          - name: config
            mountPath: /etc/forecaster
            readOnly: true
          {{- if eq $training.source "claim" }}
          - name: data
            mountPath: /data
            readOnly: true
          {{- end }}
          - name: model
            mountPath: /models
          {{- with include "forecaster.kafkaMount" . }}{{ trim . | nindent 10 }}{{ end }}
          - name: tmp
            mountPath: /tmp
          {{- with .Values.extraVolumeMounts }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
    volumes:
      - name: config
        configMap:
          name: {{ include "forecaster.trainingName" . }}
      {{- if eq $training.source "claim" }}
      - name: data
        persistentVolumeClaim:
          claimName: {{ include "forecaster.dataClaim" . | quote }}
          readOnly: true
      {{- end }}
      - name: model
        persistentVolumeClaim:
          claimName: {{ include "forecaster.modelClaim" . | quote }}
      {{- with include "forecaster.kafkaVolume" . }}{{ trim . | nindent 6 }}{{ end }}
      - name: tmp
        emptyDir:
          sizeLimit: {{ quote .Values.tmpSize }}
      {{- with .Values.extraVolumes }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
{{- end }}
