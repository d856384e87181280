"""Tools for operators: logs, alerts, and the versions, settings and repositories of a pod."""
