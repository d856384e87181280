// Command validate-manifests decodes Kubernetes manifests strictly into their own APIs' types and applies what
// those APIs would check when the manifests reach a cluster.
//
//	validate-manifests [-crds DIR] [-max-revision-timeout SECONDS] [-metrics] FILE...
//
// Each problem is one line: file, object, field, what is wrong. The exit status is 1 if there is any.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"

	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	crds := flag.String("crds", "", "folder of CustomResourceDefinitions, for kinds without types here")
	timeout := flag.Int64("max-revision-timeout", 600, "max-revision-timeout-seconds of the cluster's Knative")
	metrics := flag.Bool("metrics", false, "print the metrics that rules and dashboards ask for, and nothing else")
	flag.Parse()
	validator, err := newValidator(*crds, *timeout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	documents, problems := 0, 0
	for _, path := range flag.Args() {
		n, err := eachDocument(path, func(document []byte) {
			object, found := validator.check(document)
			for _, problem := range found {
				problems++
				fmt.Fprintf(os.Stderr, "%s: %s: %s\n", path, object, problem)
			}
		})
		if err != nil {
			problems++
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
		}
		documents += n
	}
	if *metrics {
		names := make([]string, 0, len(validator.metrics))
		for name := range validator.metrics {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			fmt.Println(name)
		}
	} else {
		fmt.Printf("%d manifests of %d files, %d problems\n", documents, flag.NArg(), problems)
	}
	if problems > 0 {
		os.Exit(1)
	}
}

// eachDocument calls action with each document of a YAML file that is not empty.
func eachDocument(path string, action func([]byte)) (int, error) {
	file, err := os.Open(filepath.Clean(path))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	reader := yaml.NewYAMLReader(newReader(file))
	n := 0
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if isEmpty(document) {
			continue
		}
		n++
		action(document)
	}
}
