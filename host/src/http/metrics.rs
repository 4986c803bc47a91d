//! `GET /metrics`: figures for Prometheus.
