package main

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// crdSchema is what the API server holds a custom resource against.
type crdSchema struct {
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
}

func readCRDs(folder string) (map[schema.GroupVersionKind]*crdSchema, error) {
	schemas := map[schema.GroupVersionKind]*crdSchema{}
	if folder == "" {
		return schemas, nil
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		text, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			return nil, err
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(text, &crd); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, version := range crd.Spec.Versions {
			kind := schema.GroupVersionKind{Group: crd.Spec.Group, Version: version.Name, Kind: crd.Spec.Names.Kind}
			if schemas[kind], err = newCRDSchema(version.Schema); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return schemas, nil
}

func newCRDSchema(source *apiextensionsv1.CustomResourceValidation) (*crdSchema, error) {
	var internal apiextensions.CustomResourceValidation
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(
		source, &internal, nil); err != nil {
		return nil, err
	}
	structural, err := structuralschema.NewStructural(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	return &crdSchema{structural, validator}, nil
}

func (c *crdSchema) check(document []byte) []string {
	var object map[string]any
	if err := yaml.Unmarshal(document, &object); err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for _, err := range validation.ValidateCustomResource(nil, object, c.validator) {
		problems = append(problems, err.Error())
	}
	options := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(object, c.structural, true, options) {
		problems = append(problems, path+": unknown field")
	}
	return problems
}
