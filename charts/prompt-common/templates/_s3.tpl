{{- /* The S3 store. Call with (list . SECTION), the values that describe it. */ -}}
{{- define "prompt-common.s3Env" -}}
{{- $root := index . 0 -}}
{{- $s3 := index . 1 -}}
{{- with $s3.endpointUrl }}
- name: S3_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
- name: AWS_DEFAULT_REGION
  value: {{ $s3.region | quote }}
- name: LSST_DISABLE_BUCKET_VALIDATION
  value: {{ ternary "1" "0" $s3.disableBucketValidation | quote }}
{{- if $s3.credentials }}
{{ include "prompt-common.secretEnv" (list $root "AWS_ACCESS_KEY_ID" "s3_access_key") }}
{{ include "prompt-common.secretEnv" (list $root "AWS_SECRET_ACCESS_KEY" "s3_secret_key") }}
{{- end }}
{{- if $s3.credentialsFile }}
- name: AWS_SHARED_CREDENTIALS_FILE
  value: /etc/prompt-s3/credentials
{{- end }}
{{- with $s3.profile }}
- name: AWS_PROFILE
  value: {{ . | quote }}
{{- end }}
{{- with $s3.checksum }}
- name: AWS_REQUEST_CHECKSUM_CALCULATION
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{- /* The values that describe the store, by whichever name the chart has them. */ -}}
{{- define "prompt-common.hasS3File" -}}
{{- if or (.Values.images).credentialsFile (.Values.s3).credentialsFile }}true{{ end -}}
{{- end -}}
