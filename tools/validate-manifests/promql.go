package main

import (
	"encoding/json"
	"fmt"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/promql/parser"
	core "k8s.io/api/core/v1"
)

const dashboardLabel = "grafana_dashboard"

func (v *validator) checkRules(object *monitoring.PrometheusRule) []string {
	var problems []string
	for _, group := range object.Spec.Groups {
		for _, rule := range group.Rules {
			name := rule.Alert + rule.Record
			if err := v.checkExpression(rule.Expr.String()); err != nil {
				problems = append(problems, fmt.Sprintf("rule %s: %v", name, err))
			}
			if rule.Alert != "" && rule.Annotations["summary"] == "" {
				problems = append(problems, fmt.Sprintf("rule %s: no summary", name))
			}
		}
	}
	return problems
}

func (v *validator) checkDashboards(object *core.ConfigMap) []string {
	if object.Labels[dashboardLabel] == "" {
		return nil
	}
	var problems []string
	for file, text := range object.Data {
		var dashboard any
		if err := json.Unmarshal([]byte(text), &dashboard); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", file, err))
			continue
		}
		walk(dashboard, func(expression string) {
			if err := v.checkExpression(expression); err != nil {
				problems = append(problems, fmt.Sprintf("%s: %q: %v", file, expression, err))
			}
		})
	}
	return problems
}

// walk calls action with every value of a key "expr".
func walk(node any, action func(string)) {
	switch node := node.(type) {
	case map[string]any:
		for key, value := range node {
			if text, isText := value.(string); isText && key == "expr" {
				action(text)
			} else {
				walk(value, action)
			}
		}
	case []any:
		for _, value := range node {
			walk(value, action)
		}
	}
}

func (v *validator) checkExpression(expression string) error {
	// Grafana's variables stand where PromQL wants a duration.
	expression = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h").Replace(expression)
	parsed, err := parser.ParseExpr(expression)
	if err != nil {
		return err
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, isSelector := node.(*parser.VectorSelector); isSelector {
			v.metrics[selector.Name] = true
		}
		return nil
	})
	return nil
}
