{{- /* What the schema cannot say in one readable line. */}}
{{- define "forecaster.checks" -}}
{{- if not (regexMatch "^[a-z]" .Release.Name) -}}
{{- fail (printf "release name %s: begin it with a letter, as the name of a Service does" .Release.Name) -}}
{{- end -}}
{{- include "forecaster.kafkaChecks" . -}}
{{- include "forecaster.userChecks" . -}}
{{- include "forecaster.modelChecks" . -}}
{{- include "forecaster.portChecks" . -}}
{{- include "forecaster.scalingChecks" . -}}
{{- if .Values.training.enabled }}{{ include "forecaster.trainingChecks" . }}{{ end -}}
{{- end }}

{{- define "forecaster.kafkaChecks" -}}
{{- $values := .Values -}}
{{- $protocol := include "forecaster.protocol" . -}}
{{- range splitList "," (include "forecaster.bootstrap" .) -}}
{{- if not (regexMatch "^[^/]+:[0-9]+$" .) -}}
{{- fail (printf "config.kafka.bootstrap_servers: %q is no \"host:port\"" .) -}}
{{- end -}}
{{- end -}}
{{- if and (hasPrefix "SASL" $protocol) (not (include "forecaster.userSecret" .)) -}}
{{- fail (printf "kafka.userSecret.name: config.kafka.security_protocol = %s needs a Secret with the user's %s" $protocol (include "forecaster.credential" .)) -}}
{{- end -}}
{{- if and (hasPrefix "SASL" $protocol) (not (dig "kafka" "sasl_mechanism" "" $values.config)) -}}
{{- fail (printf "config.kafka.sasl_mechanism: security_protocol = %s needs one" $protocol) -}}
{{- end -}}
{{- if and (eq (include "forecaster.credential" .) "password") (not (include "forecaster.username" .)) -}}
{{- fail (printf "config.kafka.sasl_username: sasl_mechanism = %s needs it" $values.config.kafka.sasl_mechanism) -}}
{{- end -}}
{{- if and $values.kafka.caSecret.name (not (hasSuffix "SSL" $protocol)) -}}
{{- fail (printf "kafka.caSecret.name: config.kafka.security_protocol = %s makes no use of it" $protocol) -}}
{{- end -}}
{{- if and $values.kafka.userSecret.name (eq $protocol "PLAINTEXT") -}}
{{- fail "kafka.userSecret.name: config.kafka.security_protocol = PLAINTEXT makes no use of it" -}}
{{- end -}}
{{- end }}

{{- /* The user that Strimzi makes is the one that the daemon says it is. */}}
{{- define "forecaster.userChecks" -}}
{{- $strimzi := .Values.strimzi -}}
{{- $how := printf "%s %s" (include "forecaster.protocol" .) (dig "kafka" "sasl_mechanism" "" .Values.config) | trim -}}
{{- if and (or $strimzi.topics.enabled $strimzi.user.enabled) (not $strimzi.cluster) -}}
{{- fail "strimzi.cluster: name the Kafka cluster that the objects are for" -}}
{{- end -}}
{{- if $strimzi.user.enabled -}}
{{- if not (regexMatch (ternary "^SSL$" "^SASL_(SSL|PLAINTEXT) SCRAM-SHA-512$" (eq $strimzi.user.authentication "tls")) $how) -}}
{{- fail (printf "strimzi.user.authentication: %s does not go with config.kafka.security_protocol and sasl_mechanism = %s" $strimzi.user.authentication $how) -}}
{{- end -}}
{{- if and (hasPrefix "SASL" $how) (ne (include "forecaster.username" .) (include "forecaster.name" .)) -}}
{{- fail (printf "config.kafka.sasl_username: strimzi.user makes the user %s: leave it out" (include "forecaster.name" .)) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "forecaster.modelChecks" -}}
{{- $model := .Values.model -}}
{{- if and (eq $model.source "claim") (not $model.claim.create) (not $model.claim.name) -}}
{{- fail "model.claim.name: name the claim, or set model.claim.create" -}}
{{- end -}}
{{- if and (hasPrefix "image" $model.source) (not $model.image.reference) -}}
{{- fail (printf "model.image.reference: model.source = %s needs one" $model.source) -}}
{{- end -}}
{{- if and (eq $model.source "imageVolume") (semverCompare "<1.33-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "model.source: imageVolume needs Kubernetes 1.33, not %s" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if and (eq $model.source "url") (not (or $model.url.address $model.url.secret.name)) -}}
{{- fail "model.url.address: model.source = url needs it, or a Secret with it in model.url.secret.name" -}}
{{- end -}}
{{- if and (eq $model.source "url") (not $model.url.sha256) -}}
{{- fail "model.url.sha256: model.source = url needs the checksum of the archive" -}}
{{- end -}}
{{- end }}

{{- define "forecaster.portChecks" -}}
{{- $metrics := include "forecaster.metricsPort" . -}}
{{- $tls := .Values.metrics.podMonitor.tlsConfig -}}
{{- if eq $metrics "0" -}}
{{- fail "config.metrics.port: 0 is a port that nobody knows" -}}
{{- end -}}
{{- if has (include "forecaster.webPort" .) (list "0" $metrics) -}}
{{- fail (printf "config.web.port: %s is a port that nobody knows, or that of the metrics" (include "forecaster.webPort" .)) -}}
{{- end -}}
{{- if and .Values.metrics.podMonitor.enabled (dig "metrics" "tls_cert_file" "" .Values.config) (not $tls) -}}
{{- fail "metrics.podMonitor.tlsConfig: with config.metrics.tls_cert_file Prometheus needs ca and serverName" -}}
{{- end -}}
{{- if and .Values.metrics.podMonitor.enabled (dig "metrics" "tls_client_ca_file" "" .Values.config) (not (and $tls.cert $tls.keySecret)) -}}
{{- fail "metrics.podMonitor.tlsConfig: with config.metrics.tls_client_ca_file Prometheus needs cert and keySecret" -}}
{{- end -}}
{{- end }}

{{- define "forecaster.scalingChecks" -}}
{{- $keda := .Values.keda -}}
{{- $shutdown := dig "kafka" "shutdown_timeout" "30s" .Values.config -}}
{{- if le (float64 .Values.terminationGracePeriodSeconds) (include "forecaster.seconds" $shutdown | float64) -}}
{{- fail (printf "terminationGracePeriodSeconds: %v does not outlast config.kafka.shutdown_timeout = %s" .Values.terminationGracePeriodSeconds $shutdown) -}}
{{- end -}}
{{- if and $keda.enabled (ne .Values.workload "Deployment") -}}
{{- fail "keda.enabled: scales workload = Deployment; the static members of a StatefulSet do not leave the group by themselves" -}}
{{- end -}}
{{- if and $keda.enabled (gt (int $keda.minReplicas) (int $keda.maxReplicas)) -}}
{{- fail (printf "keda.minReplicas: %v is more than keda.maxReplicas, %v" $keda.minReplicas $keda.maxReplicas) -}}
{{- end -}}
{{- if and $keda.enabled (eq (dig "kafka" "sasl_mechanism" "" .Values.config) "OAUTHBEARER") -}}
{{- fail "keda.enabled: the chart has no trigger for config.kafka.sasl_mechanism = OAUTHBEARER" -}}
{{- end -}}
{{- end }}

{{- define "forecaster.trainingChecks" -}}
{{- $training := .Values.training -}}
{{- if ne .Values.model.source "claim" -}}
{{- fail "training.enabled: writes the bundle to model.claim, so model.source must be claim" -}}
{{- end -}}
{{- if and (eq $training.source "claim") (not $training.claim.create) (not $training.claim.name) -}}
{{- fail "training.claim.name: name the claim, or set training.claim.create" -}}
{{- end -}}
{{- end }}
