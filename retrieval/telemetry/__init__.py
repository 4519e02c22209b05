"""What the service shows of itself: metrics, traces, a request log, probes of recall, drift of scores."""
