"""One run looked at by itself, without truth: class sizes, latents and their clusters, maps along them, a page."""
