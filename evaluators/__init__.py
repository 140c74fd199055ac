"""From adapters to scored items: lm-eval's requests and metrics, our forward pass. Knows nothing of Ray."""
