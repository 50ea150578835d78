"""torchvision's pipelines as MindSpore's: read, drawn by our own generator, run by kernels proven equal."""
