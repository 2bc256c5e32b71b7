"""What one host does, measured, and the model that predicts it."""
