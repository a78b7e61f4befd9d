"""The ways to draw: an OpenVINO graph on CPUs, torch elsewhere. Which one is used, the sampler decides."""
