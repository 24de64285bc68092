"""What a trained model is written as, and maps of a finished run; nothing here changes a model."""
