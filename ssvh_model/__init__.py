"""AutoSSVH: self-supervised video hashing with adversarial frame sampling (Lian et al., CVPR 2025)."""
