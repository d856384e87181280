{{- define "prompt-common.initializerJob" -}}
backoffLimit: {{ .Values.initializer.retries }}
activeDeadlineSeconds: {{ .Values.initializer.deadline }}
ttlSecondsAfterFinished: 86400
template:
  metadata:
    labels:
      {{- include "prompt-common.labels" (dict "root" . "component" "initializer") | nindent 6 }}
    annotations:
      sidecar.istio.io/inject: "false"
  spec:
    {{- include "prompt-common.podBasics" . | nindent 4 }}
    {{- include "prompt-common.placement" . | nindent 4 }}
    restartPolicy: Never
    terminationGracePeriodSeconds: 30
    containers:
      - name: initializer
        image: {{ include "prompt-common.image" . }}
        imagePullPolicy: {{ .Values.image.pullPolicy }}
        args: ["prompt-initializer"]
        env:
          {{- include "prompt-common.runEnv" . | nindent 10 }}
          {{- include "prompt-common.furtherEnv" . | nindent 10 }}
        resources:
          {{- toYaml .Values.initializer.resources | nindent 10 }}
        {{- include "prompt-common.securityContext" . | nindent 8 }}
        {{- include "prompt-common.volumeMounts" . | nindent 8 }}
    {{- include "prompt-common.volumes" . | nindent 4 }}
{{- end -}}

{{- define "prompt-common.initializer" -}}
{{- if .Values.initializer.enabled }}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ include "prompt-common.fullname" . }}-init
  labels:
    {{- include "prompt-common.labels" (dict "root" . "component" "initializer") | nindent 4 }}
spec:
  schedule: {{ .Values.initializer.schedule | quote }}
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      {{- include "prompt-common.initializerJob" . | nindent 6 }}
{{- if .Values.initializer.onDeploy }}
---
# Output runs are named after software, pipelines and configuration: each change needs its own.
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "prompt-common.fullname" . }}-init-now
  labels:
    {{- include "prompt-common.labels" (dict "root" . "component" "initializer") | nindent 4 }}
  annotations:
    argocd.argoproj.io/hook: Sync
    argocd.argoproj.io/hook-delete-policy: BeforeHookCreation
    argocd.argoproj.io/sync-wave: "-1"
    # For Helm by itself; Argo CD passes these over where there are its own.
    helm.sh/hook: post-install,pre-upgrade
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  {{- include "prompt-common.initializerJob" . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
