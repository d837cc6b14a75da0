"""What to beat: answers that need no generative model."""
