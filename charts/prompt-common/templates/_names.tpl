{{- /* The release's name if it contains the chart's, as with Argo CD. */ -}}
{{- define "prompt-common.fullname" -}}
{{- $chart := include "prompt-common.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 42 | trimSuffix "-" }}
{{- else if contains $chart .Release.Name -}}
{{ .Release.Name | trunc 42 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $chart | trunc 42 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "prompt-common.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 42 | trimSuffix "-" }}
{{- end -}}

{{- /* Call with (dict "root" . "component" "worker"). */ -}}
{{- define "prompt-common.selectorLabels" -}}
app.kubernetes.io/name: {{ include "prompt-common.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "prompt-common.labels" -}}
{{ include "prompt-common.selectorLabels" . }}
app.kubernetes.io/part-of: prompt-processing
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "prompt-common.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
{{- end -}}

{{- define "prompt-common.secretName" -}}
{{ .Values.secretName | default (include "prompt-common.fullname" .) }}
{{- end -}}

{{- /* A key of the Secret under the name that it has there. Call with (list . "key"). */ -}}
{{- define "prompt-common.secretKey" -}}
{{- $root := index . 0 -}}
{{ get ($root.Values.secretKeys | default dict) (index . 1) | default (index . 1) }}
{{- end -}}

{{- /* Call with (list . "NAME" "key of the secret"). */ -}}
{{- define "prompt-common.secretEnv" -}}
{{- $root := index . 0 -}}
- name: {{ index . 1 }}
  valueFrom:
    secretKeyRef:
      name: {{ include "prompt-common.secretName" $root }}
      key: {{ include "prompt-common.secretKey" (list $root (index . 2)) }}
{{- end -}}

{{- /* Security of one Kafka cluster: the prefix of its variables, and the values. */ -}}
{{- define "prompt-common.kafkaSecurity" -}}
{{- $prefix := index . 0 -}}
{{- with (index . 1).securityProtocol }}
- name: {{ $prefix }}SECURITY_PROTOCOL
  value: {{ . | quote }}
{{- end }}
{{- with (index . 1).mechanism }}
- name: {{ $prefix }}SASL_MECHANISM
  value: {{ . | quote }}
{{- end }}
{{- with (index . 1).caFile }}
- name: {{ $prefix }}CA_FILE
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "prompt-common.furtherEnv" -}}
{{- range $name, $value := .Values.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}
