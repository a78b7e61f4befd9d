"""Who may ask, and how much: API keys, and rates for each key and each address."""
