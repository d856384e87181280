{{- define "prompt-common.initializerJob" -}}
backoffLimit: {{ .Values.initializer.retries }}
activeDeadlineSeconds: {{ .Values.initializer.deadline }}
ttlSecondsAfterFinished: {{ .Values.initializer.cleanupDelay }}
template:
  metadata:
    labels:
      {{- include "prompt-common.labels" (dict "root" . "component" "initializer") | nindent 6 }}
    annotations:
      sidecar.istio.io/inject: "false"
      {{- with .Values.initializer.podAnnotations }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
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

{{- /* Cleans up after dead workers: outputs copied and never entered, unsent alerts. */ -}}
{{- define "prompt-common.settle" -}}
{{- if .Values.settle.enabled }}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ include "prompt-common.fullname" . }}-settle
  labels:
    {{- include "prompt-common.labels" (dict "root" . "component" "initializer") | nindent 4 }}
spec:
  schedule: {{ .Values.settle.schedule | quote }}
  timeZone: Etc/UTC
  # Two at once would send alerts twice.
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      # The next day's run tries again what is left; until then the failed job reports it.
      backoffLimit: 1
      activeDeadlineSeconds: {{ .Values.settle.deadline }}
      ttlSecondsAfterFinished: {{ .Values.initializer.cleanupDelay }}
      template:
        metadata:
          labels:
            {{- include "prompt-common.labels" (dict "root" . "component" "initializer") | nindent 12 }}
          annotations:
            sidecar.istio.io/inject: "false"
            {{- with .Values.initializer.podAnnotations }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
        spec:
          {{- include "prompt-common.podBasics" . | nindent 10 }}
          {{- include "prompt-common.placement" . | nindent 10 }}
          restartPolicy: Never
          terminationGracePeriodSeconds: 30
          containers:
            - name: finish-exports
              args: ["prompt-finish-exports", {{ .Values.repository.central | quote }}]
              {{- include "prompt-common.settleContainer" . | nindent 14 }}
            {{- if and .Values.alerts.server .Values.alerts.store }}
            - name: resend-alerts
              args: ["prompt-resend-alerts"]
              {{- include "prompt-common.settleContainer" . | nindent 14 }}
            {{- end }}
          {{- include "prompt-common.volumes" . | nindent 10 }}
{{- end }}
{{- end -}}

{{- define "prompt-common.settleContainer" -}}
image: {{ include "prompt-common.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- include "prompt-common.runEnv" . | nindent 2 }}
  {{- include "prompt-common.alertEnv" . | nindent 2 }}
  {{- include "prompt-common.furtherEnv" . | nindent 2 }}
resources:
  {{- toYaml .Values.initializer.resources | nindent 2 }}
{{ include "prompt-common.securityContext" . }}
{{ include "prompt-common.volumeMounts" . }}
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
  suspend: {{ .Values.initializer.suspend }}
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
    # Hooks for plain Helm; Argo CD ignores them where it has its own.
    helm.sh/hook: post-install,pre-upgrade
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  {{- include "prompt-common.initializerJob" . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
