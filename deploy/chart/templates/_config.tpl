{{- /* `value` as TOML: strings, numbers and switches are written as in JSON. */}}
{{- define "forecaster.tomlValue" -}}
{{- if kindIs "map" . -}}
{ {{- range $index, $key := keys . | sortAlpha }}{{ if $index }},{{ end }} {{ $key }} = {{ include "forecaster.tomlValue" (get $ $key) }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{ range $index, $part := . }}{{ if $index }}, {{ end }}{{ include "forecaster.tomlValue" $part }}{{ end }}]
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end }}

{{- /* The settings in `tree`, and its sections under their names behind `path`. */}}
{{- define "forecaster.toml" -}}
{{- range $key, $value := .tree }}{{ if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ $key }} = {{ include "forecaster.tomlValue" $value }}
{{- end }}{{ end }}
{{- $path := .path }}
{{- range $key, $value := .tree }}{{ if kindIs "map" $value }}

[{{ $path }}{{ $key }}]
{{- include "forecaster.toml" (dict "tree" $value "path" (printf "%s%s." $path $key)) }}
{{- end }}{{ end }}
{{- end }}

{{- define "forecaster.protocol" -}}
{{- dig "kafka" "security_protocol" "PLAINTEXT" .Values.config -}}
{{- end }}

{{- /* Without a space: KEDA takes none between them. */}}
{{- define "forecaster.bootstrap" -}}
{{- dig "kafka" "bootstrap_servers" "localhost:9092" .Values.config | nospace -}}
{{- end }}

{{- /* Two releases are two groups, or each would have a part of the ticks. */}}
{{- define "forecaster.group" -}}
{{- dig "kafka" "group_id" (include "forecaster.name" .) .Values.config -}}
{{- end }}

{{- /* Strimzi's operator calls the user like the object that it makes it from. */}}
{{- define "forecaster.username" -}}
{{- dig "kafka" "sasl_username" (ternary (include "forecaster.name" .) "" .Values.strimzi.user.enabled) .Values.config -}}
{{- end }}

{{- /* How the user of the secret is told: password, token, cert, or nothing. */}}
{{- define "forecaster.credential" -}}
{{- if hasPrefix "SASL" (include "forecaster.protocol" .) -}}
{{- $kafka := dig "kafka" dict .Values.config -}}
{{- ternary "token" "password" (and (eq (dig "sasl_mechanism" "" $kafka) "OAUTHBEARER") (not $kafka.sasl_token_endpoint)) -}}
{{- else if and (eq (include "forecaster.protocol" .) "SSL") (include "forecaster.userSecret" .) -}}
cert
{{- end -}}
{{- end }}

{{- define "forecaster.bundle" -}}
{{- $model := .Values.model -}}
{{- if eq $model.source "claim" }}/models/{{ $model.claim.path }}
{{- else if eq $model.source "imageVolume" }}/models/{{ $model.image.path }}
{{- else if eq $model.source "image" }}/models
{{- else }}/models/current
{{- end -}}
{{- end }}

{{- /* What depends on the pod, over what the user set. */}}
{{- define "forecaster.settings" -}}
{{- $kafka := dict "group_id" (include "forecaster.group" .) -}}
{{- if .Values.kafka.caSecret.name }}{{ $_ := set $kafka "ssl_ca_file" "/etc/kafka/ca.crt" }}{{ end -}}
{{- $credential := include "forecaster.credential" . -}}
{{- if eq $credential "password" }}
{{- $_ := merge $kafka (dict "sasl_password_file" "/etc/kafka/password" "sasl_username" (include "forecaster.username" .)) }}
{{- else if eq $credential "token" }}{{ $_ := set $kafka "sasl_token_file" "/etc/kafka/token" }}
{{- else if eq $credential "cert" }}
{{- $_ := merge $kafka (dict "ssl_cert_file" "/etc/kafka/user.crt" "ssl_key_file" "/etc/kafka/user.key") }}
{{- end -}}
{{- $owned := dict "kafka" $kafka "model" (dict "bundle" (include "forecaster.bundle" .)) -}}
{{- if dig "web" "enabled" false .Values.config }}{{ $_ := set $owned "web" (dict "host" "0.0.0.0") }}{{ end -}}
{{- if .Values.strimzi.topics.enabled }}{{ $_ := set $owned "topics" (dict "create" false) }}{{ end -}}
{{- toJson (mergeOverwrite (deepCopy .Values.config) $owned) -}}
{{- end }}

{{- define "forecaster.daemonToml" -}}
{{- include "forecaster.toml" (dict "tree" (include "forecaster.settings" . | fromJson) "path" "") | trim -}}
{{- end }}

{{- define "forecaster.trainingToml" -}}
{{- $settings := include "forecaster.settings" . | fromJson -}}
{{- $_ := unset $settings.model "bundle" -}}
{{- include "forecaster.toml" (dict "tree" (mergeOverwrite $settings (deepCopy .Values.training.config)) "path" "") | trim -}}
{{- end }}

{{- define "forecaster.metricsPort" -}}
{{- dig "metrics" "port" 9108 .Values.config -}}
{{- end }}

{{- /* The live page's port, or nothing. */}}
{{- define "forecaster.webPort" -}}
{{- if dig "web" "enabled" false .Values.config }}{{ dig "web" "port" 8080 .Values.config }}{{ end -}}
{{- end }}

{{- /* Seconds in a duration as settings have them. */}}
{{- define "forecaster.seconds" -}}
{{- $unit := get (dict "ms" 0.001 "s" 1 "min" 60 "h" 3600 "d" 86400 "w" 604800) (regexFind "[a-z]+" .) -}}
{{- mulf (regexFind "[0-9]+" .) $unit -}}
{{- end }}

{{- /* The port of an http or https address; of a secret one the usual port. */}}
{{- define "forecaster.portOf" -}}
{{- $url := urlParse . -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary 80 443 (eq $url.scheme "http")) -}}
{{- end }}

{{- /* Ports of the brokers, of whoever has the bundle, gives tokens or collects traces, and of the other pods. */}}
{{- define "forecaster.egressPorts" -}}
{{- $ports := list -}}
{{- range splitList "," (include "forecaster.bootstrap" .) }}
{{- $ports = append $ports (splitList ":" . | last | int) }}
{{- end -}}
{{- if eq .Values.model.source "url" }}
{{- $ports = append $ports (include "forecaster.portOf" .Values.model.url.address | int) -}}
{{- end -}}
{{- with dig "kafka" "sasl_token_endpoint" "" .Values.config }}
{{- $ports = append $ports (include "forecaster.portOf" . | int) -}}
{{- end -}}
{{- if dig "tracing" "enabled" false .Values.config }}
{{- $ports = append $ports (dig "tracing" "endpoint" "http://localhost:4318" .Values.config | include "forecaster.portOf" | int) -}}
{{- end -}}
{{- if and .Values.removeMembers (eq .Values.workload "StatefulSet") }}{{ $ports = append $ports (include "forecaster.metricsPort" . | int) }}{{ end -}}
{{- if include "forecaster.sharedTraining" . }}{{ $ports = append $ports 2222 }}{{ end -}}
{{- $ports | uniq | toJson -}}
{{- end }}
