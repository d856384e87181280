"""Simulated nights of a cluster that scales: rules of Knative and KEDA, pods, nodes and a database."""
