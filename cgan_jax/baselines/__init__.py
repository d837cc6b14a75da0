"""What to beat: answers out of the training photographs, and a conditional GAN."""
