{{- /* Text that is YAML already stays as it is. */ -}}
{{- define "prompt-common.yamlText" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{- /* Settings that name and fill output runs: those of the initializer, which must be the workers' own. */ -}}
{{- define "prompt-common.runEnv" -}}
- name: RUBIN_INSTRUMENT
  value: {{ .Values.instrument.name | quote }}
- name: CENTRAL_REPO
  value: {{ .Values.repository.central | quote }}
- name: CONFIG_APDB
  value: {{ .Values.apdb.config | quote }}
- name: PREPROCESSING_PIPELINES_CONFIG
  value: {{ include "prompt-common.yamlText" .Values.instrument.pipelines.preprocessing | quote }}
- name: MAIN_PIPELINES_CONFIG
  value: {{ include "prompt-common.yamlText" .Values.instrument.pipelines.main | quote }}
{{- with .Values.repository.typeNames }}
- name: DATASET_TYPE_NAMES
  value: {{ toYaml . | quote }}
{{- end }}
{{- include "prompt-common.s3Env" (list . .Values.images) }}
{{- if .Values.repository.databaseCredentials }}
{{ include "prompt-common.secretEnv" (list . "LSST_DB_AUTH_CREDENTIALS" "db_auth") }}
{{- end }}
{{- with .Values.repository.transfers }}
- name: LSST_RESOURCES_NUM_WORKERS
  value: {{ . | quote }}
{{- end }}
{{- with .Values.iers.cache }}
- name: CENTRAL_IERS_CACHE
  value: {{ . | quote }}
{{- end }}
{{- with .Values.sattle.url }}
- name: SATTLE_URI_BASE
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "prompt-common.alertEnv" -}}
{{- if .Values.alerts.server }}
- name: AP_KAFKA_SERVER
  value: {{ .Values.alerts.server | quote }}
- name: AP_KAFKA_TOPIC
  value: {{ .Values.alerts.topic | quote }}
{{- with .Values.alerts.username }}
- name: AP_KAFKA_PRODUCER_USERNAME
  value: {{ . | quote }}
{{ include "prompt-common.secretEnv" (list $ "AP_KAFKA_PRODUCER_PASSWORD" "alert_kafka_password") }}
{{- end }}
{{- include "prompt-common.kafkaSecurity" (list "AP_KAFKA_" .Values.alerts) }}
{{- end }}
{{- with .Values.alerts.store }}
- name: ALERT_KEEP_STORE
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "prompt-common.workerEnv" -}}
{{ include "prompt-common.runEnv" . }}
- name: SKYMAP
  value: {{ .Values.instrument.skymap | quote }}
- name: PRELOAD_PADDING
  value: {{ .Values.instrument.preloadPadding | quote }}
{{- with .Values.repository.read }}
- name: READ_CENTRAL_REPO
  value: {{ . | quote }}
{{- end }}
{{- with .Values.repository.inputCollections }}
- name: INPUT_COLLECTIONS
  value: {{ toYaml . | quote }}
{{- end }}
{{- with .Values.repository.preloadTypes }}
- name: PRELOAD_DATASET_TYPES
  value: {{ toYaml . | quote }}
{{- end }}
{{- with .Values.repository.localConfig }}
- name: LOCAL_REPO_CONFIG
  value: {{ . | quote }}
{{- end }}
{{- if .Values.apdb.monitor }}
- name: DAX_APDB_MONITOR_CONFIG
  value: logging:lsst.dax.apdb.monitor
{{- end }}
- name: REPO_RETRY_DELAY
  value: {{ .Values.repository.retryDelay | quote }}
- name: LOCAL_REPO_CACHE_SIZE
  value: {{ .Values.repository.cacheSize | quote }}
- name: LOCAL_REPOS
  value: /tmp
- name: IMAGE_BUCKET
  value: {{ .Values.images.bucket | quote }}
- name: IMAGE_TIMEOUT
  value: {{ .Values.images.timeout | quote }}
{{- with .Values.images.rawMicroservice }}
- name: RAW_MICROSERVICE
  value: {{ . | quote }}
{{- end }}
- name: KAFKA_CLUSTER
  value: {{ .Values.notices.kafkaCluster | quote }}
- name: BUCKET_TOPIC
  value: {{ .Values.notices.topic | quote }}
- name: BUCKET_NOTIFICATION_KAFKA_OFFSET_RESET
  value: {{ .Values.notices.offsetReset | quote }}
{{- with .Values.notices.username }}
- name: KAFKA_USERNAME
  value: {{ . | quote }}
{{ include "prompt-common.secretEnv" (list $ "KAFKA_PASSWORD" "kafka_password") }}
{{- end }}
{{- include "prompt-common.kafkaSecurity" (list "KAFKA_" .Values.notices) }}
- name: DEBUG_EXPORT_OUTPUTS
  value: {{ ternary "1" "0" .Values.export.enabled | quote }}
- name: EXPORT_TYPE_REGEXP
  value: {{ include "prompt-common.yamlText" .Values.export.types | quote }}
- name: USE_KAFKA_BUTLER_WRITER
  value: {{ ternary "1" "0" .Values.export.writer.enabled | quote }}
{{- if .Values.export.writer.enabled }}
- name: BUTLER_WRITER_KAFKA_CLUSTER
  value: {{ .Values.export.writer.kafkaCluster | quote }}
- name: BUTLER_WRITER_KAFKA_TOPIC
  value: {{ .Values.export.writer.topic | quote }}
{{- with .Values.export.writer.username }}
- name: BUTLER_WRITER_KAFKA_USERNAME
  value: {{ . | quote }}
{{ include "prompt-common.secretEnv" (list $ "BUTLER_WRITER_KAFKA_PASSWORD" "butler_writer_kafka_password") }}
{{- end }}
{{- include "prompt-common.kafkaSecurity" (list "BUTLER_WRITER_KAFKA_" .Values.export.writer) }}
{{- end }}
{{- include "prompt-common.alertEnv" . }}
{{- with .Values.mpSky.url }}
- name: MP_SKY_URL
  value: {{ . | quote }}
{{- end }}
{{- if .Values.sasquatch.url }}
- name: SASQUATCH_URL
  value: {{ .Values.sasquatch.url | quote }}
- name: DAF_BUTLER_SASQUATCH_NAMESPACE
  value: {{ .Values.sasquatch.namespace | quote }}
{{- if .Values.sasquatch.token }}
{{ include "prompt-common.secretEnv" (list . "SASQUATCH_TOKEN" "sasquatch_token") }}
{{- end }}
{{- end }}
{{- with .Values.outcomes.topic }}
- name: OUTCOME_TOPIC
  value: {{ . | quote }}
{{- end }}
- name: WORKER_TIMEOUT
  value: {{ .Values.worker.timeout | quote }}
- name: WORKER_RESTART_FREQ
  value: {{ .Values.worker.restartFrequency | quote }}
- name: WORKER_GRACE_PERIOD
  value: {{ .Values.worker.gracePeriod | quote }}
- name: MESSAGE_EXPIRATION
  value: {{ .Values.worker.messageExpiration | quote }}
{{- with .Values.worker.logLevels }}
- name: SERVICE_LOG_LEVELS
  value: {{ . | quote }}
{{- end }}
- name: METRICS_PORT
  value: {{ .Values.ports.metrics | quote }}
{{- include "prompt-common.furtherEnv" . }}
{{- end -}}
