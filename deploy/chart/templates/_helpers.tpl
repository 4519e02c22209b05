{{- define "tandem.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 48 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 48 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tandem.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tandem.labels" -}}
{{ include "tandem.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* An image of the values, by digest where there is one. */ -}}
{{- define "tandem.image" -}}
{{- if .image.digest }}{{ .image.repository }}@{{ .image.digest }}{{ else }}{{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}{{ end }}
{{- end }}

{{- define "tandem.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tandem.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* MiB of a serving pod: what the process and two releases in turn take, with the pages of their files. */ -}}
{{- define "tandem.serveMemory" -}}
{{- add 768 (div (mul .Values.products 2400) 1000000) }}Mi
{{- end }}

{{- /* MiB of an index job: its peak, with the pages of the files that it writes. */ -}}
{{- define "tandem.indexMemory" -}}
{{- add 1024 (div (mul .Values.products 2600) 1000000) }}Mi
{{- end }}

{{- define "tandem.releasesClaim" -}}
{{ .Values.releases.claim | default (printf "%s-releases" (include "tandem.name" .)) }}
{{- end }}

{{- define "tandem.auditClaim" -}}
{{ .Values.audit.claim | default (printf "%s-audit" (include "tandem.name" .)) }}
{{- end }}

{{- define "tandem.modelsClaim" -}}
{{ .Values.triton.claim | default (printf "%s-models" (include "tandem.name" .)) }}
{{- end }}

{{- /* serve.toml: what the chart decides, under what `settings` says. */ -}}
{{- define "tandem.settings" -}}
{{- $own := dict "releases" "/releases" "address" "0.0.0.0:50051" "health_address" "0.0.0.0:50052" "grace_seconds" (int .Values.drain.calls) "log_format" "json" }}
{{- if .Values.metrics.port }}{{ $_ := set $own "metrics_address" (printf "0.0.0.0:%d" (int .Values.metrics.port)) }}{{ end }}
{{- if .Values.insecure }}{{ $_ := set $own "insecure" true }}{{ end }}
{{- if .Values.tls.secret }}
{{- $_ := set $own "tls_certificate" "/etc/tandem/tls/tls.crt" }}
{{- $_ := set $own "tls_key" "/etc/tandem/tls/tls.key" }}
{{- if .Values.tls.clientCa }}{{ $_ := set $own "tls_client_ca" "/etc/tandem/tls/ca.crt" }}{{ end }}
{{- end }}
{{- if .Values.keys.secret }}{{ $_ := set $own "keys" (printf "/etc/tandem/keys/%s" .Values.keys.file) }}{{ end }}
{{- if .Values.profiles.secret }}{{ $_ := set $own "audit_log" "/audit/audit.jsonl" }}{{ else }}{{ $_ := set $own "profiles" "off" }}{{ end }}
{{- if .Values.triton.enabled }}
{{- $_ := set $own "engine" "triton" }}
{{- $_ := set $own "triton_url" (printf "%s-triton:8001" (include "tandem.name" .)) }}
{{- $_ := set $own "triton_repository" "/models" }}
{{- end }}
{{- toToml (mergeOverwrite $own (deepCopy .Values.settings)) }}
{{- end }}
