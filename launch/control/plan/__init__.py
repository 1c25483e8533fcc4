"""trainctl plan: how often clusters should exchange, in which codec, and what that costs."""
