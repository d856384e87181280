{{- /* On the container and not on the pod: a stock Knative takes no security context of pods. */ -}}
{{- define "prompt-common.securityContext" -}}
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: ["ALL"]
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "prompt-common.podBasics" -}}
serviceAccountName: {{ include "prompt-common.fullname" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "prompt-common.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* The only writable place. */ -}}
{{- define "prompt-common.volumes" -}}
volumes:
  - name: workspace
    emptyDir:
      sizeLimit: {{ .Values.workspace.sizeLimit }}
      {{- with .Values.workspace.medium }}
      medium: {{ . }}
      {{- end }}
  {{- with .Values.caConfigMap }}
  - name: certificate-authorities
    configMap:
      name: {{ . }}
  {{- end }}
  {{- if include "prompt-common.hasS3File" . }}
  - name: s3-credentials
    secret:
      secretName: {{ include "prompt-common.secretName" . }}
      items:
        - key: {{ include "prompt-common.secretKey" (list . "s3_credentials_file") }}
          path: credentials
  {{- end }}
  {{- if (.Values.repository | kindIs "map") }}
  {{- if .Values.repository.files }}
  - name: central-repository
    secret:
      secretName: {{ include "prompt-common.secretName" . }}
      items:
        - key: {{ include "prompt-common.secretKey" (list . "central_repo_file") }}
          path: butler.yaml
  {{- if .Values.repository.read }}
  - name: read-repository
    secret:
      secretName: {{ include "prompt-common.secretName" . }}
      items:
        - key: {{ include "prompt-common.secretKey" (list . "read_repo_file") }}
          path: butler.yaml
  {{- end }}
  {{- end }}
  {{- end }}
  {{- with .Values.additionalVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "prompt-common.volumeMounts" -}}
volumeMounts:
  - name: workspace
    mountPath: /tmp
  {{- with .Values.caConfigMap }}
  - name: certificate-authorities
    mountPath: /etc/prompt-ca
    readOnly: true
  {{- end }}
  {{- if include "prompt-common.hasS3File" . }}
  - name: s3-credentials
    mountPath: /etc/prompt-s3
    readOnly: true
  {{- end }}
  {{- if (.Values.repository | kindIs "map") }}
  {{- if .Values.repository.files }}
  - name: central-repository
    mountPath: {{ .Values.repository.central }}
    readOnly: true
  {{- with .Values.repository.read }}
  - name: read-repository
    mountPath: {{ . }}
    readOnly: true
  {{- end }}
  {{- end }}
  {{- end }}
  {{- with .Values.additionalVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- /* Call with the port. */ -}}
{{- define "prompt-common.scrapeAnnotations" -}}
prometheus.io/scrape: "true"
prometheus.io/path: /metrics
prometheus.io/port: {{ . | quote }}
{{- end -}}
