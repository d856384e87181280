{{- /* Service and way in of a page. Call with (dict "root" . "component" COMPONENT "port" PORT). */ -}}
{{- define "prompt-common.page" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "prompt-common.fullname" .root }}
  labels:
    {{- include "prompt-common.labels" . | nindent 4 }}
spec:
  selector:
    {{- include "prompt-common.selectorLabels" . | nindent 4 }}
  ports:
    - name: http
      port: {{ .port }}
      targetPort: http
{{- with .root.Values.ingress }}
{{- if .enabled }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ include "prompt-common.fullname" $.root }}
  labels:
    {{- include "prompt-common.labels" $ | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with .tlsSecret }}
  tls:
    - hosts: [{{ $.root.Values.ingress.host | quote }}]
      secretName: {{ . }}
  {{- end }}
  {{- include "prompt-common.pageRules" $ | nindent 2 }}
{{- end }}
{{- if $.root.Values.gafaelfawr.enabled }}
---
apiVersion: gafaelfawr.lsst.io/v1alpha1
kind: GafaelfawrIngress
metadata:
  name: {{ include "prompt-common.fullname" $.root }}
  labels:
    {{- include "prompt-common.labels" $ | nindent 4 }}
config:
  loginRedirect: true
  scopes:
    all: {{ $.root.Values.gafaelfawr.scopes | toJson }}
  service: {{ include "prompt-common.name" $.root }}
template:
  metadata:
    name: {{ include "prompt-common.fullname" $.root }}
    {{- with .annotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    {{- include "prompt-common.pageRules" $ | nindent 4 }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Call with (dict "root" .), and with "service" if the page is that of another chart. */ -}}
{{- define "prompt-common.pageRules" -}}
rules:
  - host: {{ .root.Values.ingress.host | quote }}
    http:
      paths:
        - path: {{ .root.Values.prefix }}
          pathType: Prefix
          backend:
            service:
              name: {{ .service | default (include "prompt-common.fullname" .root) }}
              port:
                name: http
{{- end -}}
