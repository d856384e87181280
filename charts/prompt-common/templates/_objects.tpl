{{- define "prompt-common.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "prompt-common.fullname" . }}
  labels:
    {{- include "prompt-common.labels" (dict "root" . "component" "identity") | nindent 4 }}
  annotations:
    argocd.argoproj.io/sync-wave: "-2"
automountServiceAccountToken: false
{{- end -}}

{{- define "prompt-common.vaultSecret" -}}
{{- if (.Values.global).vaultSecretsPath }}
apiVersion: ricoberger.de/v1alpha1
kind: VaultSecret
metadata:
  name: {{ include "prompt-common.secretName" . }}
  labels:
    {{- include "prompt-common.labels" (dict "root" . "component" "secret") | nindent 4 }}
  annotations:
    argocd.argoproj.io/sync-wave: "-2"
spec:
  path: {{ printf "%s/%s" .Values.global.vaultSecretsPath .Release.Name | quote }}
  type: Opaque
{{- end }}
{{- end -}}

{{- /*
Call with (dict "root" . "name" NAME "component" COMPONENT "ingress" (list RULE ...)), the rules as text; "egress" likewise, in addition to DNS and the values' ports.
*/ -}}
{{- define "prompt-common.networkPolicy" -}}
{{- if .root.Values.networkPolicy.enabled }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  labels:
    {{- include "prompt-common.labels" . | nindent 4 }}
  annotations:
    argocd.argoproj.io/sync-wave: "-2"
spec:
  podSelector:
    matchLabels:
      {{- include "prompt-common.selectorLabels" . | nindent 6 }}
  policyTypes: ["Ingress", "Egress"]
  {{- if .ingress }}
  ingress:
    {{- range .ingress }}
    - {{- . | nindent 6 }}
    {{- end }}
  {{- else }}
  ingress: []
  {{- end }}
  egress:
    - ports:
        - { port: 53, protocol: UDP }
        - { port: 53, protocol: TCP }
    {{- range .egress }}
    - {{- . | nindent 6 }}
    {{- end }}
    {{- with .root.Values.networkPolicy.egressPorts }}
    - to:
        # Everything except the nodes' metadata service, which would hand out the nodes' own credentials.
        - ipBlock:
            cidr: 0.0.0.0/0
            except: ["169.254.0.0/16"]
      ports:
        {{- range . }}
        - { port: {{ . }}, protocol: TCP }
        {{- end }}
    {{- end }}
{{- end }}
{{- end -}}

{{- define "prompt-common.fromNamespaces" -}}
from:
  - namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values: {{ .namespaces | toJson }}
{{- with .port }}
ports:
  - { port: {{ . }}, protocol: TCP }
{{- end }}
{{- end -}}

{{- /* Call with (dict "root" . "component" COMPONENT "port" PORT). */ -}}
{{- define "prompt-common.podMonitor" -}}
{{- if .root.Values.monitoring.podMonitor }}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "prompt-common.fullname" .root }}
  labels:
    {{- include "prompt-common.labels" . | nindent 4 }}
spec:
  selector:
    matchLabels:
      {{- include "prompt-common.selectorLabels" . | nindent 6 }}
  podMetricsEndpoints:
    - portNumber: {{ .port }}
      path: /metrics
      interval: {{ .root.Values.monitoring.interval }}
{{- end }}
{{- end -}}

{{- /* Call with (dict "root" . "component" COMPONENT "budget" (dict "maxUnavailable" 1)). */ -}}
{{- define "prompt-common.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "prompt-common.fullname" .root }}
  labels:
    {{- include "prompt-common.labels" . | nindent 4 }}
spec:
  {{- toYaml .budget | nindent 2 }}
  selector:
    matchLabels:
      {{- include "prompt-common.selectorLabels" . | nindent 6 }}
{{- end -}}
