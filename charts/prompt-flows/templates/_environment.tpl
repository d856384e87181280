{{- /* What flows and the processes of the cluster share: where data are, and with which credentials. */ -}}
{{- define "prompt-flows.dataEnv" -}}
{{- if .Values.databaseCredentials }}
{{ include "prompt-common.secretEnv" (list . "LSST_DB_AUTH_CREDENTIALS" "db_auth") }}
{{- end }}
{{ include "prompt-common.s3Env" (list . .Values.s3) }}
{{- include "prompt-common.furtherEnv" . }}
{{- end -}}

{{- /* The operator names the Service of the scheduler. */ -}}
{{- define "prompt-flows.scheduler" -}}
{{ printf "tcp://%s-scheduler.%s.svc:8786" (include "prompt-common.fullname" .) .Release.Namespace }}
{{- end -}}

{{- /* Pods of the cluster have the labels of their metadata, and these of the operator. */ -}}
{{- define "prompt-flows.fromOwnPods" -}}
{{- $root := index . 0 -}}
from:
  - podSelector:
      matchLabels:
        app.kubernetes.io/name: {{ include "prompt-common.name" $root }}
        app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- end -}}

{{- define "prompt-flows.toOwnPods" -}}
to:
  - podSelector:
      matchLabels:
        app.kubernetes.io/name: {{ include "prompt-common.name" . }}
        app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "prompt-flows.workerEnv" -}}
- name: PREFECT_API_URL
  value: {{ .Values.prefect.apiUrl | quote }}
{{- if .Values.prefect.apiKey }}
{{ include "prompt-common.secretEnv" (list . "PREFECT_API_KEY" "prefect_api_key") }}
{{- end }}
- name: WM_DASK_SCHEDULER
  value: {{ include "prompt-flows.scheduler" . }}
- name: WM_DEST_TYPE
  value: {{ .Values.records.type }}
- name: WM_DEST_FOLDER
  value: /data/records
{{- with .Values.records.bucket }}
- name: WM_S3_DEST_BUCKET
  value: {{ . | quote }}
{{- end }}
- name: FLOW_WORK
  value: /data/work
{{ include "prompt-flows.dataEnv" . | trim }}
{{- end -}}
