{{- /* The file that INSTRUMENT_CONFIG_FILE names. */ -}}
{{- define "next-visit-fan-out.instruments" -}}
detectors:
{{- range $name, $items := .Values.detectors }}
  {{ $name }}:
    {{- $inactive := index $.Values.inactiveDetectors $name | default list }}
    {{- range $item := $items }}
    {{- $ends := splitList "-" (toString $item) }}
    {{- range $id := untilStep (first $ends | int) (add1 (last $ends | int) | int) 1 }}
    {{ $id }}: {{ not (has $id $inactive) }}
    {{- end }}
    {{- end }}
{{- end }}
knative-urls: {{ toJson .Values.knativeUrls }}
redis-streams: {{ toJson .Values.redisStreams }}
{{- end -}}
