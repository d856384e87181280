package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	disruption "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/config"
	serving "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"
)

type validator struct {
	knative context.Context
	crds    map[schema.GroupVersionKind]*crdSchema
	metrics map[string]bool
}

func newValidator(crds string, maxRevisionTimeout int64) (*validator, error) {
	schemas, err := readCRDs(crds)
	if err != nil {
		return nil, err
	}
	defaults, err := config.NewDefaultsConfigFromMap(map[string]string{
		"max-revision-timeout-seconds": fmt.Sprint(maxRevisionTimeout),
	})
	if err != nil {
		return nil, err
	}
	features, err := config.NewFeaturesConfigFromMap(map[string]string{})
	if err != nil {
		return nil, err
	}
	knative := config.ToContext(context.Background(), &config.Config{Defaults: defaults, Features: features})
	return &validator{apis.WithinCreate(knative), schemas, map[string]bool{}}, nil
}

// gafaelfawrIngress has the fields that the charts use, since its operator publishes no Go types.
type gafaelfawrIngress struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Config          struct {
		// Tokens that the service gets, to act for the person.
		Delegate *struct {
			Internal struct {
				Scopes  []string `json:"scopes"`
				Service string   `json:"service"`
			} `json:"internal"`
		} `json:"delegate,omitempty"`
		LoginRedirect bool   `json:"loginRedirect"`
		Service       string `json:"service"`
		Scopes        struct {
			All []string `json:"all,omitempty"`
			Any []string `json:"any,omitempty"`
		} `json:"scopes"`
	} `json:"config"`
	Template struct {
		Metadata struct {
			Name        string            `json:"name"`
			Annotations map[string]string `json:"annotations,omitempty"`
		} `json:"metadata"`
		Spec networking.IngressSpec `json:"spec"`
	} `json:"template"`
}

// daskCluster has the fields of the Dask Kubernetes operator's resource, which is written in Python and has no Go types.
type daskCluster struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		IdleTimeout int `json:"idleTimeout,omitempty"`
		Scheduler   struct {
			Metadata daskMetadata     `json:"metadata,omitempty"`
			Spec     core.PodSpec     `json:"spec"`
			Service  core.ServiceSpec `json:"service"`
		} `json:"scheduler"`
		Worker struct {
			Metadata daskMetadata `json:"metadata,omitempty"`
			Replicas *int         `json:"replicas"`
			Spec     core.PodSpec `json:"spec"`
		} `json:"worker"`
	} `json:"spec"`
}

type daskMetadata struct {
	Annotations map[string]string `json:"annotations,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
}

// vaultSecret is the resource of the Vault Secrets Operator as its CRD has it; its module is not on the proxy.
type vaultSecret struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		Path              string            `json:"path"`
		Type              core.SecretType   `json:"type"`
		Keys              []string          `json:"keys,omitempty"`
		Templates         map[string]string `json:"templates,omitempty"`
		SecretEngine      string            `json:"secretEngine,omitempty"`
		ReconcileStrategy string            `json:"reconcileStrategy,omitempty"`
		VaultNamespace    string            `json:"vaultNamespace,omitempty"`
		VaultRole         string            `json:"vaultRole,omitempty"`
		Version           int               `json:"version,omitempty"`
	} `json:"spec"`
}

// check returns the name of the object in a document and everything that is wrong with it.
func (v *validator) check(document []byte) (string, []string) {
	var head struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
	}
	if err := yaml.Unmarshal(document, &head); err != nil {
		return "document", []string{err.Error()}
	}
	object := head.Kind + "/" + head.Name
	problems := checkMetadata(&head.ObjectMeta)
	kind := head.GroupVersionKind()
	typed, known := newTyped(kind)
	crd, described := v.crds[kind]
	if !known && !described {
		return object, append(problems, fmt.Sprintf("%s is not a kind that is known here", kind))
	}
	if known {
		if err := yaml.UnmarshalStrict(document, typed); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				problems = append(problems, strings.TrimPrefix(line, "error unmarshaling JSON: while decoding JSON: "))
			}
			return object, problems
		}
		problems = append(problems, v.checkTyped(typed)...)
	}
	if described {
		problems = append(problems, crd.check(document)...)
	}
	return object, problems
}

func newTyped(kind schema.GroupVersionKind) (any, bool) {
	switch kind.GroupVersion().String() + "/" + kind.Kind {
	case "v1/ConfigMap":
		return &core.ConfigMap{}, true
	case "v1/Namespace":
		return &core.Namespace{}, true
	case "v1/PersistentVolumeClaim":
		return &core.PersistentVolumeClaim{}, true
	case "v1/Secret":
		return &core.Secret{}, true
	case "v1/Service":
		return &core.Service{}, true
	case "v1/ServiceAccount":
		return &core.ServiceAccount{}, true
	case "apps/v1/DaemonSet":
		return &apps.DaemonSet{}, true
	case "apps/v1/Deployment":
		return &apps.Deployment{}, true
	case "apps/v1/StatefulSet":
		return &apps.StatefulSet{}, true
	case "batch/v1/CronJob":
		return &batch.CronJob{}, true
	case "batch/v1/Job":
		return &batch.Job{}, true
	case "networking.k8s.io/v1/Ingress":
		return &networking.Ingress{}, true
	case "networking.k8s.io/v1/NetworkPolicy":
		return &networking.NetworkPolicy{}, true
	case "policy/v1/PodDisruptionBudget":
		return &disruption.PodDisruptionBudget{}, true
	case "rbac.authorization.k8s.io/v1/Role":
		return &rbac.Role{}, true
	case "rbac.authorization.k8s.io/v1/RoleBinding":
		return &rbac.RoleBinding{}, true
	case "serving.knative.dev/v1/Service":
		return &serving.Service{}, true
	case "keda.sh/v1alpha1/ScaledJob":
		return &keda.ScaledJob{}, true
	case "keda.sh/v1alpha1/TriggerAuthentication":
		return &keda.TriggerAuthentication{}, true
	case "monitoring.coreos.com/v1/PodMonitor":
		return &monitoring.PodMonitor{}, true
	case "monitoring.coreos.com/v1/PrometheusRule":
		return &monitoring.PrometheusRule{}, true
	case "ricoberger.de/v1alpha1/VaultSecret":
		return &vaultSecret{}, true
	case "kubernetes.dask.org/v1/DaskCluster":
		return &daskCluster{}, true
	case "gafaelfawr.lsst.io/v1alpha1/GafaelfawrIngress":
		return &gafaelfawrIngress{}, true
	}
	return nil, false
}

func (v *validator) checkTyped(typed any) []string {
	switch object := typed.(type) {
	case *apps.DaemonSet:
		return append(checkSelector(object.Spec.Selector, &object.Spec.Template), checkPod(&object.Spec.Template)...)
	case *apps.Deployment:
		return append(checkSelector(object.Spec.Selector, &object.Spec.Template), checkPod(&object.Spec.Template)...)
	case *apps.StatefulSet:
		return append(checkSelector(object.Spec.Selector, &object.Spec.Template),
			checkPod(&object.Spec.Template, object.Spec.VolumeClaimTemplates...)...)
	case *batch.Job:
		return checkPod(&object.Spec.Template)
	case *batch.CronJob:
		if len(object.Name) > 52 {
			return []string{"metadata.name: longer than 52 characters, its jobs could not be named"}
		}
		return checkPod(&object.Spec.JobTemplate.Spec.Template)
	case *keda.ScaledJob:
		return append(checkPod(&object.Spec.JobTargetRef.Template), checkTriggers(object.Spec.Triggers)...)
	case *serving.Service:
		return v.checkKnative(object)
	case *monitoring.PrometheusRule:
		return v.checkRules(object)
	case *core.ConfigMap:
		return v.checkDashboards(object)
	case *daskCluster:
		return checkDask(object)
	case *gafaelfawrIngress:
		if object.Config.Service == "" || len(object.Config.Scopes.All)+len(object.Config.Scopes.Any) == 0 {
			return []string{"config.service, config.scopes: both are required"}
		}
	case *vaultSecret:
		if object.Spec.Path == "" || object.Spec.Type == "" {
			return []string{"spec.path, spec.type: both are required"}
		}
	}
	return nil
}

// checkDask checks the pods that the operator makes, and that the Service of the scheduler finds its ports.
func checkDask(cluster *daskCluster) []string {
	var problems []string
	scheduler, worker := &cluster.Spec.Scheduler, &cluster.Spec.Worker
	if worker.Replicas == nil || *worker.Replicas < 0 {
		problems = append(problems, "spec.worker.replicas: a number of pods is required")
	}
	for _, one := range []struct {
		name     string
		metadata daskMetadata
		spec     core.PodSpec
	}{{"scheduler", scheduler.Metadata, scheduler.Spec}, {"worker", worker.Metadata, worker.Spec}} {
		template := core.PodTemplateSpec{
			ObjectMeta: meta.ObjectMeta{Annotations: one.metadata.Annotations, Labels: one.metadata.Labels},
			Spec:       one.spec,
		}
		for _, problem := range checkPod(&template) {
			problems = append(problems, "spec."+one.name+": "+problem)
		}
	}
	ports := map[string]bool{}
	for _, container := range scheduler.Spec.Containers {
		for _, port := range container.Ports {
			ports[port.Name] = true
		}
	}
	// The operator and its clients connect to these two.
	named := map[string]bool{}
	for _, port := range scheduler.Service.Ports {
		named[port.Name] = true
		if !ports[port.TargetPort.String()] {
			problems = append(problems, "spec.scheduler.service.ports: the scheduler has no port "+port.TargetPort.String())
		}
	}
	for _, name := range []string{"tcp-comm", "http-dashboard"} {
		if !named[name] {
			problems = append(problems, "spec.scheduler.service.ports: "+name+" is required")
		}
	}
	if scheduler.Service.Selector["dask.org/cluster-name"] != cluster.Name {
		problems = append(problems, "spec.scheduler.service.selector: dask.org/cluster-name is not the cluster's name")
	}
	return problems
}

func (v *validator) checkKnative(service *serving.Service) []string {
	template := core.PodTemplateSpec{
		ObjectMeta: service.Spec.Template.ObjectMeta,
		Spec:       *service.Spec.Template.Spec.PodSpec.DeepCopy(),
	}
	problems := checkPod(&template)
	service.SetDefaults(v.knative)
	// Warnings as well: what Knative calls insecure is a mistake here.
	if err := service.Validate(v.knative); err != nil {
		problems = append(problems, strings.Split(err.Error(), "\n")...)
	}
	return problems
}

func checkMetadata(object *meta.ObjectMeta) []string {
	var problems []string
	for _, problem := range validation.IsDNS1123Subdomain(object.Name) {
		problems = append(problems, "metadata.name: "+problem)
	}
	path := field.NewPath("metadata")
	for _, err := range metavalidation.ValidateLabels(object.Labels, path.Child("labels")) {
		problems = append(problems, err.Error())
	}
	return problems
}

func checkSelector(selector *meta.LabelSelector, template *core.PodTemplateSpec) []string {
	compiled, err := meta.LabelSelectorAsSelector(selector)
	if err != nil {
		return []string{"spec.selector: " + err.Error()}
	}
	if compiled.Empty() || !compiled.Matches(labels.Set(template.Labels)) {
		return []string{"spec.selector does not match the labels of spec.template"}
	}
	return nil
}

func isEmpty(document []byte) bool {
	var content any
	return yaml.Unmarshal(document, &content) == nil && content == nil
}

func newReader(reader io.Reader) *bufio.Reader {
	return bufio.NewReader(reader)
}
