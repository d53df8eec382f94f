"""Weights of other programs: a file a format that reads it, `layouts` and `networks` that recognise what it holds, and
`fetch`, which downloads what `networks.published` lists. It imports `networks` and what lies below."""
