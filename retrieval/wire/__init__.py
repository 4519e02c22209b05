"""Messages: reading requests, building responses and statuses."""
