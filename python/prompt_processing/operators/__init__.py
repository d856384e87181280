"""What operators look with: at logs, into a pod, and at the dependencies."""
