"""Backbones, preprocessing, and the stage that turns clips into cached feature maps."""
