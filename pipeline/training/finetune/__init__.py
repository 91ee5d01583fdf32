"""Fine-tuning: backbone and head trained together on frames, with the exact gradients of an episode."""
