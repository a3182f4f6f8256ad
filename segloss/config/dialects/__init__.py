"""The dialects of loss configs, one per file: each reads plain values into specs."""
