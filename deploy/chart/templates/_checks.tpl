{{- /* What the schema cannot say in one readable line. */}}
{{- define "forecaster.checks" -}}
{{- $values := .Values -}}
{{- $protocol := include "forecaster.protocol" . -}}
{{- if and (hasPrefix "SASL" $protocol) (not (include "forecaster.userSecret" .)) -}}
{{- fail (printf "kafka.userSecret.name: config.kafka.security_protocol = %s needs a Secret with the user's %s" $protocol (include "forecaster.credential" .)) -}}
{{- end -}}
{{- if and $values.kafka.caSecret.name (not (hasSuffix "SSL" $protocol)) -}}
{{- fail (printf "kafka.caSecret.name: config.kafka.security_protocol = %s makes no use of it" $protocol) -}}
{{- end -}}
{{- if and $values.kafka.userSecret.name (eq $protocol "PLAINTEXT") -}}
{{- fail "kafka.userSecret.name: config.kafka.security_protocol = PLAINTEXT makes no use of it" -}}
{{- end -}}
{{- if eq (include "forecaster.metricsPort" .) "0" -}}
{{- fail "config.metrics.port: 0 is a port that nobody knows" -}}
{{- end -}}
{{- if and (eq $values.model.source "claim") (not $values.model.claim.create) (not $values.model.claim.name) -}}
{{- fail "model.claim.name: name the claim, or set model.claim.create" -}}
{{- end -}}
{{- if and (hasPrefix "image" $values.model.source) (not $values.model.image.reference) -}}
{{- fail (printf "model.image.reference: model.source = %s needs one" $values.model.source) -}}
{{- end -}}
{{- if eq $values.model.source "url" -}}
{{- if not (or $values.model.url.address $values.model.url.secret.name) -}}
{{- fail "model.url.address: model.source = url needs it, or a Secret with it in model.url.secret.name" -}}
{{- end -}}
{{- if not $values.model.url.sha256 -}}
{{- fail "model.url.sha256: model.source = url needs the checksum of the archive" -}}
{{- end -}}
{{- end -}}
{{- if and $values.keda.enabled (ne $values.workload "Deployment") -}}
{{- fail "keda.enabled: scales workload = Deployment; the static members of a StatefulSet do not leave the group by themselves" -}}
{{- end -}}
{{- if and (or $values.strimzi.topics.enabled $values.strimzi.user.enabled) (not $values.strimzi.cluster) -}}
{{- fail "strimzi.cluster: name the Kafka cluster that the objects are for" -}}
{{- end -}}
{{- if $values.training.enabled -}}
{{- if ne $values.model.source "claim" -}}
{{- fail "training.enabled: writes the bundle to model.claim, so model.source must be claim" -}}
{{- end -}}
{{- if and (eq $values.training.source "claim") (not $values.training.claim.create) (not $values.training.claim.name) -}}
{{- fail "training.claim.name: name the claim, or set training.claim.create" -}}
{{- end -}}
{{- end -}}
{{- end }}
