"""Building blocks of the heads: convolutions, pooling, dropout."""
