"""What p and q are: Keras layers that own every trainable variable."""
