package main

import (
	"fmt"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// checkPod applies the restricted pod security standard, and what a cluster would only find out late.
func checkPod(template *core.PodTemplateSpec, claims ...core.PersistentVolumeClaim) []string {
	var problems []string
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return []string{err.Error()}
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec) {
		if !result.Allowed {
			problems = append(problems, fmt.Sprintf("not restricted: %s (%s)", result.ForbiddenReason, result.ForbiddenDetail))
		}
	}
	for _, err := range validation.ValidateLabels(template.Labels, field.NewPath("spec", "template", "labels")) {
		problems = append(problems, err.Error())
	}
	volumes := map[string]bool{}
	for _, volume := range template.Spec.Volumes {
		volumes[volume.Name] = true
	}
	for _, claim := range claims {
		volumes[claim.Name] = true
	}
	for _, container := range append(template.Spec.InitContainers, template.Spec.Containers...) {
		problems = append(problems, checkContainer(&container, volumes)...)
	}
	return problems
}

func checkContainer(container *core.Container, volumes map[string]bool) []string {
	var problems []string
	wrong := func(format string, values ...any) {
		problems = append(problems, fmt.Sprintf("container %s: ", container.Name)+fmt.Sprintf(format, values...))
	}
	for _, mount := range container.VolumeMounts {
		if !volumes[mount.Name] {
			wrong("no volume %s to mount", mount.Name)
		}
	}
	context := container.SecurityContext
	if context == nil || context.ReadOnlyRootFilesystem == nil || !*context.ReadOnlyRootFilesystem {
		wrong("readOnlyRootFilesystem is not set")
	}
	for _, resource := range []core.ResourceName{core.ResourceCPU, core.ResourceMemory} {
		request, there := container.Resources.Requests[resource]
		if !there {
			wrong("requests no %s", resource)
		}
		if limit, limited := container.Resources.Limits[resource]; limited && limit.Cmp(request) < 0 {
			wrong("requests more %s than its limit", resource)
		}
	}
	if _, limited := container.Resources.Limits[core.ResourceMemory]; !limited {
		wrong("has no limit of memory")
	}
	seen := map[string]bool{}
	for _, variable := range container.Env {
		if seen[variable.Name] {
			wrong("sets %s twice", variable.Name)
		}
		seen[variable.Name] = true
	}
	return problems
}

// redisStreams are the keys that KEDA's scaler of that name reads; others it would pass over in silence.
var redisStreams = map[string]bool{
	"address": true, "host": true, "port": true, "stream": true, "consumerGroup": true, "databaseIndex": true,
	"pendingEntriesCount": true, "streamLength": true, "lagCount": true, "activationLagCount": true,
	"enableTLS": true, "unsafeSsl": true, "username": true, "usernameFromEnv": true, "passwordFromEnv": true,
	"addressFromEnv": true, "hostFromEnv": true, "portFromEnv": true,
}

func checkTriggers(triggers []keda.ScaleTriggers) []string {
	var problems []string
	if len(triggers) == 0 {
		problems = append(problems, "spec.triggers: none")
	}
	for i, trigger := range triggers {
		if trigger.Type != "redis-streams" {
			problems = append(problems, fmt.Sprintf("spec.triggers[%d].type: %s is not known here", i, trigger.Type))
			continue
		}
		for key := range trigger.Metadata {
			if !redisStreams[key] {
				problems = append(problems, fmt.Sprintf("spec.triggers[%d].metadata.%s: KEDA does not know it", i, key))
			}
		}
		if trigger.Metadata["address"] == "" || trigger.Metadata["stream"] == "" {
			problems = append(problems, fmt.Sprintf("spec.triggers[%d].metadata: address and stream are required", i))
		}
	}
	return problems
}
