"""From a mask to ordered points: landmarks, boundaries, registration, the mean, the modes."""
