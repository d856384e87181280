{{- /* A container that looks after the streams; give its command and name beside it. */ -}}
{{- define "prompt-redis.streamContainer" -}}
image: {{ printf "%s:%s" .Values.serviceImage.repository .Values.serviceImage.tag | quote }}
imagePullPolicy: {{ .Values.serviceImage.pullPolicy }}
env:
  - name: REDIS_HOST
    value: {{ printf "%s:%v" (include "prompt-common.fullname" .) .Values.port | quote }}
  - name: STREAM_PATTERN
    value: {{ .Values.streams | quote }}
  - name: STREAM_INTERVAL
    value: {{ .Values.streamExporter.interval | quote }}
  - name: METRICS_PORT
    value: {{ .Values.streamExporter.port | quote }}
resources:
  {{- toYaml .Values.streamExporter.resources | nindent 2 }}
{{ include "prompt-common.securityContext" . }}
volumeMounts:
  - name: workspace
    mountPath: /tmp
{{- end -}}

{{- define "prompt-redis.streamVolumes" -}}
volumes:
  - name: workspace
    emptyDir:
      sizeLimit: 64Mi
{{- end -}}

{{- /* Exporter and trimming job of this release. */ -}}
{{- define "prompt-redis.fromOwnPods" -}}
from:
  - podSelector:
      matchLabels:
        {{- include "prompt-common.selectorLabels" (dict "root" . "component" "streams") | nindent 8 }}
ports:
  - { port: {{ .Values.port }}, protocol: TCP }
{{- end -}}

{{- define "prompt-redis.toRedis" -}}
to:
  - podSelector:
      matchLabels:
        {{- include "prompt-common.selectorLabels" (dict "root" . "component" "redis") | nindent 8 }}
ports:
  - { port: {{ .Values.port }}, protocol: TCP }
{{- end -}}
