{{- /* The file that INSTRUMENT_CONFIG_FILE names. */ -}}
{{- define "next-visit-fan-out.instruments" -}}
detectors:
{{- range $name, $items := .Values.detectors }}
  {{ $name }}:
    {{- $inactive := list }}
    {{- range index $.Values.inactiveDetectors $name }}
    {{- $inactive = append $inactive (toString .) }}
    {{- end }}
    {{- range $item := $items }}
    {{- $ends := splitList "-" (toString $item) }}
    {{- range $id := untilStep (first $ends | int) (add1 (last $ends | int) | int) 1 }}
    {{- /* As text: numbers in a values file have another type than those counted here. */}}
    {{ $id }}: {{ not (has (toString $id) $inactive) }}
    {{- end }}
    {{- end }}
{{- end }}
knative-urls: {{ toJson .Values.knativeUrls }}
redis-streams: {{ toJson .Values.redisStreams }}
{{- end -}}
