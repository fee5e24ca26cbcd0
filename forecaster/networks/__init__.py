"""Networks in Keras 3 operations, and the cells that they are made of."""
