package deploy

import (
	"errors"
	"fmt"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	"sigs.k8s.io/yaml"
)

const namespace = "payments"

var strict = serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDeserializer()

// admit does with a manifest what an API server does before it stores it: it is decoded
// strictly, gets its defaults, and is validated by the server's own code. What comes
// back has its defaults.
//
// A schema would be the smaller check: it does not know that a selector has to match
// the labels of the pod, that a mounted volume has to be there, or how long the name of
// a port may be.
func admit(manifest []byte) (runtime.Object, error) {
	var head struct{ Kind string }
	if err := yaml.Unmarshal(manifest, &head); err != nil {
		return nil, err
	}
	switch head.Kind { // those of an operator, which has types only
	case monitoringv1.ServiceMonitorsKind:
		var monitor monitoringv1.ServiceMonitor
		return &monitor, yaml.UnmarshalStrict(manifest, &monitor)
	case monitoringv1.PrometheusRuleKind:
		var rule monitoringv1.PrometheusRule
		return &rule, yaml.UnmarshalStrict(manifest, &rule)
	}
	object, _, err := strict.Decode(manifest, nil, nil)
	if err != nil {
		return nil, err
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		return nil, err
	}
	accessor.SetNamespace(namespace)
	legacyscheme.Scheme.Default(object)
	group := schema.GroupVersion{Group: object.GetObjectKind().GroupVersionKind().Group, Version: runtime.APIVersionInternal}
	internal, err := legacyscheme.Scheme.ConvertToVersion(object, group)
	if err != nil {
		return nil, err
	}
	problems, err := validate(internal)
	return object, errors.Join(err, problems.ToAggregate())
}

func validate(object runtime.Object) (field.ErrorList, error) {
	switch o := object.(type) {
	case *core.ConfigMap:
		return corevalidation.ValidateConfigMap(o), nil
	case *core.Service:
		if o.Spec.ExternalTrafficPolicy == core.ServiceExternalTrafficPolicyLocal {
			o.Spec.HealthCheckNodePort = 30000 // the server picks one
		}
		return corevalidation.ValidateServiceCreate(o), nil
	case *apps.StatefulSet:
		return appsvalidation.ValidateStatefulSet(o, appsvalidation.StatefulSetValidationOptions{},
			podutil.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil)), nil
	case *networking.NetworkPolicy:
		return networkingvalidation.ValidateNetworkPolicy(o, networkingvalidation.ValidationOptionsForNetworking(o, nil)), nil
	case *networking.Ingress:
		return networkingvalidation.ValidateIngressCreate(o), nil
	case *policy.PodDisruptionBudget:
		return policyvalidation.ValidatePodDisruptionBudget(o, policyvalidation.PodDisruptionBudgetValidationOptions{}), nil
	}
	return nil, fmt.Errorf("%T: add its validation", object)
}
