"""The dialects of loss configs, a file each: they read plain values into specs."""
