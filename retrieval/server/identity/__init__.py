"""Who calls, and what they may do: keys, tokens, certificates, and the limits of each tenant."""
